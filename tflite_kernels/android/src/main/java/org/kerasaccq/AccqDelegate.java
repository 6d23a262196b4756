package org.kerasaccq;

import java.util.Map;
import java.util.TreeMap;
import org.tensorflow.lite.Delegate;

/**
 * Runs keras-accq's operators, and with {@link Options#setClaimBuiltin} int8 built-in ones, in the
 * interpreter that it is given to.
 *
 * <pre>{@code
 * try (AccqDelegate delegate = new AccqDelegate();
 *     Interpreter interpreter =
 *         new Interpreter(model, new Interpreter.Options().addDelegate(delegate))) {
 *   interpreter.run(input, output);
 * }
 * }</pre>
 *
 * <p>One delegate may serve several interpreters. Close it after all of them: they go on using what
 * it owns. Its own methods may be called from any thread.
 */
public final class AccqDelegate implements Delegate {

  /** What the native library takes as options; it checks them when the delegate is made. */
  public static final class Options {
    private final Map<String, String> values = new TreeMap<>();

    /**
     * Threads that run one operator, 0 to 64; 0, the default, is as many as the interpreter
     * recommends ({@code Interpreter.Options.setNumThreads}).
     */
    public Options setNumThreads(int threads) {
      return set("threads", Integer.toString(threads));
    }

    /**
     * Whether to take int8 built-in operators too, where that is expected to be faster than the
     * runtime's own kernels. Off by default.
     */
    public Options setClaimBuiltin(boolean claim) {
      return set("claim", claim ? "builtin" : "custom");
    }

    /** Runs every operator in this kernel, for tests and measurements. Default: the best for each. */
    public Options setKernel(String name) {
      return set("kernel", name);
    }

    /** Says in the log which kernel each operator got. Off by default. */
    public Options setVerbose(boolean verbose) {
      return set("verbose", verbose ? "1" : "0");
    }

    /** Appends a line of JSON about each prepared operator to this file. */
    public Options setReportPath(String path) {
      return set("report_path", path);
    }

    private Options set(String key, String value) {
      if (value == null) {
        throw new NullPointerException("option " + key + ": expected a string, got null");
      }
      values.put(key, value);
      return this;
    }
  }

  private static final String LIBRARY = "accq_delegate_jni";

  private long handle;

  /** A delegate with default options. See {@link #AccqDelegate(Options)}. */
  public AccqDelegate() {
    this(new Options());
  }

  /**
   * @throws UnsatisfiedLinkError if the native library is not in the app, or not for its processor
   * @throws IllegalArgumentException if an option is refused; the text says which, and what it may be
   * @throws OutOfMemoryError if there is no memory for it
   */
  public AccqDelegate(Options options) {
    load();
    handle =
        nativeCreate(
            options.values.keySet().toArray(new String[0]),
            options.values.values().toArray(new String[0]));
  }

  /**
   * The native delegate, for the interpreter.
   *
   * @throws IllegalStateException after {@link #close}
   */
  @Override
  public synchronized long getNativeHandle() {
    if (handle == 0) {
      throw new IllegalStateException(
          "AccqDelegate is closed: close it after the interpreters that use it, and make a new one"
              + " for a new interpreter");
    }
    return handle;
  }

  /**
   * How many operators of all its interpreters it is ready to run at this moment. 0 after an
   * interpreter was made means that nothing in the file was for this delegate.
   *
   * @throws IllegalStateException after {@link #close}
   */
  public synchronized long getNodeCount() {
    return nativeNodeCount(getNativeHandle());
  }

  /** Frees the native delegate. Calling it again does nothing. */
  @Override
  public synchronized void close() {
    final long closing = handle;
    handle = 0;
    if (closing != 0) {
      nativeDestroy(closing);
    }
  }

  private static void load() {
    try {
      System.loadLibrary(LIBRARY);
    } catch (UnsatisfiedLinkError error) {
      final UnsatisfiedLinkError told =
          new UnsatisfiedLinkError(
              "keras-accq: lib"
                  + LIBRARY
                  + ".so could not be loaded ("
                  + error.getMessage()
                  + "). Put it into src/main/jniLibs/arm64-v8a and src/main/jniLibs/x86_64 of the"
                  + " app, or depend on the Gradle project tflite_kernels/android, which builds it;"
                  + " see docs/android.md");
      told.initCause(error);
      throw told;
    }
  }

  private static native long nativeCreate(String[] keys, String[] values);

  private static native long nativeNodeCount(long handle);

  private static native void nativeDestroy(long handle);
}
