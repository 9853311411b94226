import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * Numbered messages at a steady rate until stopped: what the ledger test counts.
 *
 * The value is `partition number key-number`, after a `!` in one of 300, for handlers that treat some differently: the number counts the messages of the partition from 0 and so is the
 * message's offset there, the key-number counts those of its key. The partition is the one that Kafka's own client
 * picks for the key. Nothing is given up: the producer waits for as long as an outage lasts.
 */
final class Stream implements Runnable {
    private static final int MARKED = 300;
    private final KafkaProducer<byte[], byte[]> producer;
    private final String topic;
    private final int keys;
    private final long perSecond;
    private final long[] numbers;
    private final long[] keyNumbers;
    private final AtomicReference<Exception> failure = new AtomicReference<>();
    private final Thread thread = new Thread(this, "stream");
    private volatile boolean stopped;

    private Stream(JsonNode request) {
        producer = Eye.producer(request);
        topic = Eye.topic(request);
        keys = request.get("keys").asInt();
        perSecond = request.get("per_second").asLong();
        numbers = new long[request.get("partitions").asInt()];
        keyNumbers = new long[keys];
    }

    static JsonNode start(JsonNode request) {
        Stream stream = new Stream(request);
        Eye.STREAMS.put(request.get("name").asText(), stream);
        stream.thread.start();
        return Eye.JSON.createObjectNode();
    }

    /** Ends it, waits for every confirmation and answers how many messages each partition has: {"partitions": [n, ...]}. */
    JsonNode stop() throws Exception {
        stopped = true;
        thread.join();
        producer.close();
        if (failure.get() != null) {
            throw failure.get();
        }
        ObjectNode reply = Eye.JSON.createObjectNode();
        ArrayNode counts = reply.putArray("partitions");
        for (long number : numbers) {
            counts.add(number);
        }
        return reply;
    }

    @Override
    public void run() {
        long began = System.nanoTime();
        long sent = 0;
        while (!stopped && failure.get() == null) {
            long due = (System.nanoTime() - began) * perSecond / 1_000_000_000L;
            // After an outage the backlog is not made up at once: it would be a burst and not a stream.
            if (due - sent > perSecond) {
                began += (due - sent - perSecond) * 1_000_000_000L / perSecond;
                continue;
            }
            // At a rate that nothing can keep up with, the producer's full buffer holds this back.
            for (; sent < due && !stopped; sent++) {
                send(sent);
            }
            try {
                Thread.sleep(2);
            } catch (InterruptedException error) {
                return;
            }
        }
    }

    private void send(long number) {
        int key = (int) ((number * 7919) % keys);
        byte[] name = ("key-" + key).getBytes(StandardCharsets.UTF_8);
        int partition = BuiltInPartitioner.partitionForKey(name, numbers.length);
        String mark = numbers[partition] % MARKED == MARKED - 1 ? "!" : "";
        String value = mark + partition + " " + numbers[partition]++ + " " + keyNumbers[key]++;
        producer.send(new ProducerRecord<>(topic, partition, name, value.getBytes(StandardCharsets.UTF_8)), (done, error) -> {
            if (error != null) {
                failure.compareAndSet(null, error);
            }
        });
    }
}
