import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/**
 * What came out of a {@link Stream} behind a handler that stamps its version on each value: `partition number key-number
 * stamp`. Told in pieces, for there are millions: messages of one partition that follow each other in the output and in
 * number, with one stamp, and of which each is the next one of its key.
 *
 * A piece is [partition of the output, partition, first number, how many, stamp]. What is no such message is a piece with
 * the partition -1 and its value as the stamp. A message that is not the next one of its key is a piece by itself, with
 * how many = 0.
 */
final class Stamped {
    private final ArrayNode part = Eye.JSON.createArrayNode();
    private final Map<Integer, Piece> open = new HashMap<>();
    private final Map<String, Long> nextOfKey = new HashMap<>();

    private static final class Piece {
        int partition;
        long first;
        long count;
        String stamp;
    }

    static JsonNode read(JsonNode request) throws Exception {
        Stamped stamped = new Stamped();
        try (KafkaConsumer<byte[], byte[]> consumer = Eye.consumer(request)) {
            List<TopicPartition> partitions = Eye.partitions(request);
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (Eye.behind(consumer, ends)) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(java.time.Duration.ofMillis(100))) {
                    stamped.see(record);
                }
                Eye.sayPart(request, stamped.part);
            }
        }
        stamped.open.forEach(stamped::tell);
        Eye.sayPart(request, stamped.part);
        return Eye.JSON.createObjectNode();
    }

    private void see(ConsumerRecord<byte[], byte[]> record) {
        String value = record.value() == null ? "" : new String(record.value(), StandardCharsets.UTF_8);
        String[] words = (value.startsWith("!") ? value.substring(1) : value).split(" ");
        int partition;
        long number;
        long keyNumber;
        try {
            partition = Integer.parseInt(words[0]);
            number = Long.parseLong(words[1]);
            keyNumber = Long.parseLong(words[2]);
        } catch (NumberFormatException | ArrayIndexOutOfBoundsException error) {
            words = new String[0];
            partition = 0;
            number = 0;
            keyNumber = 0;
        }
        if (words.length != 4) {
            add(record.partition(), -1, 0, 1, value);
            return;
        }
        String key = record.key() == null ? "" : new String(record.key(), StandardCharsets.UTF_8);
        Long due = nextOfKey.put(key, keyNumber + 1);
        if (keyNumber != (due == null ? 0 : due)) {
            add(record.partition(), partition, number, 0, words[3]);
        }
        Piece piece = open.get(record.partition());
        if (piece == null || piece.partition != partition || piece.first + piece.count != number || !piece.stamp.equals(words[3])) {
            if (piece != null) {
                tell(record.partition(), piece);
            }
            piece = new Piece();
            piece.partition = partition;
            piece.first = number;
            piece.stamp = words[3];
            open.put(record.partition(), piece);
        }
        piece.count++;
    }

    private void tell(int output, Piece piece) {
        add(output, piece.partition, piece.first, piece.count, piece.stamp);
    }

    private void add(int output, int partition, long first, long count, String stamp) {
        part.addArray().add(output).add(partition).add(first).add(count).add(stamp);
    }
}
