import java.io.File;
import java.io.FileReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Properties;
import kafka.server.KafkaConfig;
import kafka.server.KafkaRaftServer;
import kafka.tools.StorageTool;
import org.apache.kafka.common.utils.Time;

/**
 * One Apache Kafka node, formatted and started in this JVM: `java Broker server.properties [CLUSTER-ID]`.
 *
 * Nodes of one cluster are given the same id.
 *
 * It prints `ready` when clients are served, so that a test waits for an event and not for a time. It lives no
 * longer than its standard input: whoever started it holds the other end, and however that process ends, the
 * broker ends with it and takes its data along.
 */
public final class Broker {
    private Broker() {}

    public static void main(String[] args) throws Exception {
        Properties properties = new Properties();
        try (FileReader reader = new FileReader(args[0])) {
            properties.load(reader);
        }
        Path data = Path.of(properties.getProperty("log.dirs"));
        dieWithStandardInput(data);
        if (!Files.exists(data.resolve("meta.properties"))) {
            String id = args.length > 1 ? args[1] : org.apache.kafka.common.Uuid.randomUuid().toString();
            int code = StorageTool.execute(new String[] {"format", "-t", id, "-c", args[0]}, System.err);
            if (code != 0) {
                System.err.println("cannot format " + data);
                Runtime.getRuntime().halt(code);
            }
        }
        KafkaRaftServer server = new KafkaRaftServer(KafkaConfig.fromProps(properties, false), Time.SYSTEM);
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown, "shutdown"));
        try {
            server.startup();
        } catch (Throwable error) {
            error.printStackTrace();
            Runtime.getRuntime().halt(3);
        }
        System.out.println("ready");
        System.out.flush();
        server.awaitShutdown();
    }

    private static void dieWithStandardInput(Path data) {
        Thread watcher = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    // Nothing is said here: only the end of the stream counts.
                }
            } catch (IOException error) {
                // A broken pipe is an end, too.
            }
            delete(data);
            Runtime.getRuntime().halt(0);
        }, "standard-input");
        watcher.setDaemon(true);
        watcher.start();
    }

    private static void delete(Path folder) {
        try (var paths = Files.walk(folder)) {
            paths.sorted(Comparator.reverseOrder()).map(Path::toFile).forEach(File::delete);
        } catch (IOException | RuntimeException error) {
            // The broker is still writing; what is left is small, and the next run sweeps it.
        }
    }
}
