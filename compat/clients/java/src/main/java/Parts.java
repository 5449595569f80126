// What both Java programs share: their arguments, comparing, and running parts, each told on a line of its own.

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;

/** Arguments: URL, 2 or 3, two beginnings of keys with a comma between, "all" or "strings+hashes". */
final class Parts {
    final String url;
    final String protocol;
    final String cart;
    final String ads;
    private final boolean all;
    private int code;

    Parts(String[] args) {
        url = args[0];
        protocol = args[1];
        cart = args[2].split(",")[0];
        ads = args[2].split(",")[1];
        all = args[3].equals("all");
    }

    interface Part {
        void run() throws Exception;
    }

    static void equal(Object got, Object wanted) {
        if (!Objects.equals(got, wanted)) {
            throw new AssertionError("got " + got + ", wanted " + wanted);
        }
    }

    static byte[] allBytes() {
        byte[] every = new byte[256];
        for (int i = 0; i < 256; i++) {
            every[i] = (byte) i;
        }
        return every;
    }

    /** Of 100 KiB: TiKV takes 128. */
    static byte[] big() {
        byte[] value = new byte[400 * 256];
        for (int i = 0; i < 400; i++) {
            System.arraycopy(allBytes(), 0, value, i * 256, 256);
        }
        return value;
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    String either(int i) {
        return i % 2 == 0 ? cart : ads;
    }

    /** The exception of this kind that the call must end with. */
    static <E extends Exception> E failure(Class<E> kind, Callable<?> call) throws Exception {
        Object got;
        try {
            got = call.call();
        } catch (Exception error) {
            if (kind.isInstance(error)) {
                return kind.cast(error);
            }
            throw error;
        }
        throw new AssertionError("no " + kind.getSimpleName() + ", but " + got);
    }

    /** Eight threads do it at the same time; their failures come out. */
    static void inThreads(Part work) throws Exception {
        List<Throwable> failures = new ArrayList<>();
        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            threads.add(new Thread(() -> {
                try {
                    work.run();
                } catch (Throwable error) {
                    synchronized (failures) {
                        failures.add(error);
                    }
                }
            }));
        }
        threads.forEach(Thread::start);
        for (Thread thread : threads) {
            thread.join();
        }
        equal(failures, List.of());
    }

    static void until(Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + 10_000_000_000L;
        while (!condition.call()) {
            equal(System.nanoTime() < end, true);
        }
    }

    void part(String name, Part part) {
        tell(name, "ok", part);
    }

    /** A part that a store may lack: there each of the calls must fail with `kind`, and `ping` work behind it. */
    void beyond(String name, Part part, Class<? extends Exception> kind, Part ping, Callable<?>... refused) {
        if (all) {
            tell(name, "ok", part);
            return;
        }
        tell(name, "unsupported", () -> {
            for (Callable<?> call : refused) {
                String message = failure(kind, call).getMessage();
                equal(message.contains("is not supported by") ? "refused" : message, "refused");
                ping.run();
            }
        });
    }

    private void tell(String name, String outcome, Part part) {
        try {
            part.run();
            System.out.println(name + ": " + outcome);
        } catch (Throwable error) {
            code = 1;
            String text = error.toString().replaceAll("\\s+", " ");
            System.out.println(name + ": FAILED " + text + " at " + error.getStackTrace()[1]);
        }
    }

    void exit() {
        System.exit(code);
    }
}
