import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.kerasaccq.AccqDelegate;
import org.tensorflow.lite.Delegate;

/** Uses AccqDelegate as an app does, without an interpreter; run by test_java.py. */
public final class Exercise {
  public static void main(String[] arguments) throws Exception {
    switch (arguments[0]) {
      case "library missing":
        libraryMissing();
        break;
      case "all":
        defaults();
        everyOption(arguments[1]);
        refused();
        closed();
        manyThreads();
        break;
      default:
        throw new IllegalArgumentException(arguments[0]);
    }
    System.out.println("passed: " + arguments[0]);
  }

  private static void defaults() {
    try (AccqDelegate first = new AccqDelegate();
        AccqDelegate second = new AccqDelegate(new AccqDelegate.Options())) {
      check(first.getNativeHandle() != 0, "a handle");
      check(first.getNativeHandle() == first.getNativeHandle(), "the same handle");
      check(first.getNativeHandle() != second.getNativeHandle(), "a handle of its own");
      check(first.getNodeCount() == 0, "no nodes without an interpreter");
      check(Delegate.class.isInstance(first), "what Interpreter.Options.addDelegate takes");
    }
  }

  private static void everyOption(String report) throws Exception {
    final AccqDelegate.Options options =
        new AccqDelegate.Options()
            .setNumThreads(64)
            .setClaimBuiltin(true)
            .setKernel("reference")
            .setVerbose(true)
            .setReportPath(report);
    try (AccqDelegate delegate = new AccqDelegate(options)) {
      check(delegate.getNativeHandle() != 0, "a handle");
    }
    check(Files.exists(Path.of(report)), "the report's file");
    new AccqDelegate(options.setClaimBuiltin(false).setVerbose(false).setNumThreads(0)).close();
  }

  private static void refused() {
    refuses(new AccqDelegate.Options().setNumThreads(65), "threads: expected 0 to 64, got \"65\"");
    refuses(new AccqDelegate.Options().setNumThreads(-1), "threads: expected 0 to 64, got \"-1\"");
    refuses(new AccqDelegate.Options().setKernel("no such"), "there is no \"no such\"; this build");
    refuses(new AccqDelegate.Options().setKernel(""), "option kernel");
    // Not ASCII, beyond 16 bits, a zero, half a surrogate pair, and longer than any text of ours.
    refuses(new AccqDelegate.Options().setKernel("\u00fc\ud83d\ude00\0\ud83d"), "option kernel");
    refuses(new AccqDelegate.Options().setKernel(repeated('k', 1 << 20)), "option kernel");
    refuses(new AccqDelegate.Options().setReportPath(""), "option report_path");
    refuses(new AccqDelegate.Options().setReportPath("/no such/folder"), "can not be opened");
    check(
        thrown(() -> new AccqDelegate.Options().setKernel(null)) instanceof NullPointerException,
        "null is refused where it is given");
    check(thrown(() -> new AccqDelegate(null)) instanceof NullPointerException, "null options");
  }

  private static void refuses(AccqDelegate.Options options, String expected) {
    final Throwable error = thrown(() -> new AccqDelegate(options));
    check(error instanceof IllegalArgumentException, "refused: " + expected + ", got " + error);
    check(error.getMessage().startsWith("keras-accq: "), error.getMessage());
    check(error.getMessage().contains(expected), error.getMessage());
    check(error.getMessage().length() < 1000, "a text of bounded length");
    check(error.getMessage().chars().noneMatch(Character::isISOControl), error.getMessage());
    check(error.getMessage().chars().noneMatch(c -> c == 0xd83d), "no half of a pair");
  }

  private static void closed() {
    final AccqDelegate delegate = new AccqDelegate();
    delegate.close();
    delegate.close();
    final Throwable handle = thrown(delegate::getNativeHandle);
    check(handle instanceof IllegalStateException, "no handle after close");
    check(handle.getMessage().contains("make a new one"), handle.getMessage());
    check(thrown(delegate::getNodeCount) instanceof IllegalStateException, "no count after close");
  }

  private static void manyThreads() throws Exception {
    final AccqDelegate shared = new AccqDelegate();
    final List<Thread> threads = new ArrayList<>();
    final List<Throwable> errors = new ArrayList<>();
    for (int i = 0; i < 4; ++i) {
      final Thread thread =
          new Thread(
              () -> {
                for (int repeat = 0; repeat < 200; ++repeat) {
                  try (AccqDelegate own = new AccqDelegate()) {
                    own.getNodeCount();
                  }
                  shared.close();
                }
              });
      thread.setUncaughtExceptionHandler(
          (where, error) -> {
            synchronized (errors) {
              errors.add(error);
            }
          });
      threads.add(thread);
      thread.start();
    }
    for (final Thread thread : threads) {
      thread.join();
    }
    check(errors.isEmpty(), errors.toString());
  }

  private static void libraryMissing() {
    for (int attempt = 0; attempt < 2; ++attempt) {
      final Throwable error = thrown(AccqDelegate::new);
      check(error instanceof UnsatisfiedLinkError, "an error of linking, got " + error);
      check(error.getCause() instanceof UnsatisfiedLinkError, "the machine's own error");
      final String text = error.getMessage();
      check(text.contains("libaccq_delegate_jni.so"), text);
      check(text.contains("jniLibs/arm64-v8a"), text);
      check(text.contains("docs/android.md"), text);
    }
  }

  private static String repeated(char character, int times) {
    return new String(new char[times]).replace('\0', character);
  }

  private static Throwable thrown(Runnable action) {
    try {
      action.run();
    } catch (Throwable error) {
      return error;
    }
    throw new AssertionError("nothing was thrown");
  }

  private static void check(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError(what);
    }
  }
}
