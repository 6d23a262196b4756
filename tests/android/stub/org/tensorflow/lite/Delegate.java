package org.tensorflow.lite;

import java.io.Closeable;

/** What TensorFlow Lite's interface of this name asks for, to compile against without its AAR. */
public interface Delegate extends Closeable {
  long getNativeHandle();

  @Override
  default void close() {}
}
