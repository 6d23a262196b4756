package org.kerasaccq.example

import android.app.Activity
import android.os.Bundle
import android.widget.TextView
import java.io.FileInputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.nio.MappedByteBuffer
import java.nio.channels.FileChannel
import kotlin.concurrent.thread
import kotlin.random.Random
import org.kerasaccq.AccqDelegate
import org.tensorflow.lite.Interpreter

private const val MODEL = "model.tflite"
private const val ROUNDS = 30
private const val RUNS = 5

/** Runs assets/model.tflite with and without the delegate, and shows both times. */
class MainActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        val text = TextView(this)
        text.text = "Running $MODEL …"
        setContentView(text)
        thread {
            val result = try {
                compare(mapModel())
            } catch (error: Exception) {
                "$error"
            } catch (error: UnsatisfiedLinkError) {
                "$error"
            }
            runOnUiThread { text.text = result }
        }
    }

    private fun mapModel(): MappedByteBuffer =
        assets.openFd(MODEL).use { asset ->
            FileInputStream(asset.fileDescriptor).channel.use {
                it.map(FileChannel.MapMode.READ_ONLY, asset.startOffset, asset.declaredLength)
            }
        }
}

/** Both interpreters in turns, so that heat and other apps slow both alike; medians of the rounds. */
private fun compare(model: MappedByteBuffer): String {
    // Built-in operators too, where that is expected to pay: this model runs without the delegate.
    val options = AccqDelegate.Options().setClaimBuiltin(true)
    AccqDelegate(options).use { delegate ->
        Runner(model, Interpreter.Options().setNumThreads(1)).use { stock ->
            Runner(model, Interpreter.Options().setNumThreads(1).addDelegate(delegate)).use { ours ->
                stock.run()
                ours.run()
                val same = stock.outputs.zip(ours.outputs).all { (a, b) -> a == b }
                val times = List(ROUNDS) { stock.time() to ours.time() }
                return """
                    stock: ${median(times.map { it.first })} µs
                    keras-accq: ${median(times.map { it.second })} µs
                    outputs: ${if (same) "the same bytes" else "they differ"}
                    operators that the delegate runs: ${delegate.nodeCount}
                """.trimIndent()
            }
        }
    }
}

private fun median(values: List<Long>): Long = values.sorted()[values.size / 2]

/** An interpreter with random inputs, the same in each, and its outputs. */
private class Runner(model: MappedByteBuffer, options: Interpreter.Options) : AutoCloseable {
    private val interpreter = Interpreter(model, options)
    private val inputs: Array<Any>
    val outputs: List<ByteBuffer>

    init {
        val random = Random(0)
        inputs = Array(interpreter.inputTensorCount) {
            direct(interpreter.getInputTensor(it).numBytes()).put(
                random.nextBytes(interpreter.getInputTensor(it).numBytes()),
            )
        }
        outputs = List(interpreter.outputTensorCount) {
            direct(interpreter.getOutputTensor(it).numBytes())
        }
    }

    fun run() {
        inputs.forEach { (it as ByteBuffer).rewind() }
        outputs.forEach { it.rewind() }
        interpreter.runForMultipleInputsOutputs(
            inputs,
            outputs.withIndex().associate { it.index to it.value },
        )
        outputs.forEach { it.rewind() }
    }

    /** Microseconds of one run. */
    fun time(): Long {
        val start = System.nanoTime()
        repeat(RUNS) { run() }
        return (System.nanoTime() - start) / RUNS / 1000
    }

    override fun close() = interpreter.close()
}

private fun direct(size: Int): ByteBuffer =
    ByteBuffer.allocateDirect(size).order(ByteOrder.nativeOrder())
