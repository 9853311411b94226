import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.coordinator.group.generated.GroupMetadataKey;
import org.apache.kafka.coordinator.group.generated.GroupMetadataValue;
import org.apache.kafka.coordinator.group.generated.OffsetCommitKey;
import org.apache.kafka.coordinator.group.generated.OffsetCommitValue;

/**
 * The second opinion of the tests: topics, messages and committed offsets through Apache Kafka's own client.
 *
 * A line of JSON in, `{"id", "call", "bootstrap", ...}`; lines of JSON out, `{"id", "part"}` any number of times and
 * then `{"id", "ok"}` or `{"id", "error"}`. Calls run side by side. When standard input ends, every process that was
 * put under guard is killed, so that a test run that dies leaves none behind.
 *
 * A message travels as `[partition, offset, timestamp, key, value, headers]`; bytes are text, or `{"b64"}` where they
 * are not UTF-8, or null where they are absent.
 */
public final class Eye {
    static final ObjectMapper JSON = new ObjectMapper();
    static final PrintStream OUT = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), false);
    static final Map<String, Admin> ADMINS = new ConcurrentHashMap<>();
    static final Map<String, Stream> STREAMS = new ConcurrentHashMap<>();
    static final Set<Long> GUARDED = ConcurrentHashMap.newKeySet();

    private Eye() {}

    public static void main(String[] args) throws Exception {
        ExecutorService threads = Executors.newCachedThreadPool();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            JsonNode request = JSON.readTree(line);
            threads.execute(() -> answer(request));
        }
        for (long pid : GUARDED) {
            ProcessHandle.of(pid).ifPresent(ProcessHandle::destroyForcibly);
        }
        Runtime.getRuntime().halt(0);
    }

    static void answer(JsonNode request) {
        ObjectNode reply = JSON.createObjectNode().put("id", request.get("id").asLong());
        try {
            reply.set("ok", call(request));
        } catch (Throwable error) {
            Throwable cause = error;
            while (cause instanceof java.util.concurrent.ExecutionException && cause.getCause() != null) {
                cause = cause.getCause();
            }
            reply.put("error", cause.getClass().getSimpleName() + ": " + cause.getMessage());
        }
        say(reply);
    }

    static void say(ObjectNode line) {
        byte[] bytes = (line.toString() + "\n").getBytes(StandardCharsets.UTF_8);
        synchronized (OUT) {
            OUT.write(bytes, 0, bytes.length);
            OUT.flush();
        }
    }

    static JsonNode call(JsonNode request) throws Exception {
        switch (request.get("call").asText()) {
            case "ping": return JSON.createObjectNode();
            case "guard": GUARDED.add(request.get("pid").asLong()); return JSON.createObjectNode();
            case "unguard": GUARDED.remove(request.get("pid").asLong()); return JSON.createObjectNode();
            case "create_topic": return createTopic(request);
            case "delete_topic": admin(request).deleteTopics(List.of(topic(request))).all().get(); return JSON.createObjectNode();
            case "alter_topic": return Change.alterTopic(request);
            case "delete_records": return deleteRecords(request);
            case "delete_group": admin(request).deleteConsumerGroups(List.of(request.get("group").asText())).all().get(); return JSON.createObjectNode();
            case "produce": return produce(request);
            case "offsets": return offsets(request);
            case "committed": return committed(request);
            case "commit": return commit(request);
            case "wait_committed": return waitCommitted(request);
            case "group": return group(request);
            case "groups": return groups(request);
            case "read": return read(request);
            case "appends": return appends(request);
            case "stamped": return Stamped.read(request);
            case "commits": return commits(request);
            case "assigned": return assigned(request);
            case "stream_start": return Stream.start(request);
            case "stream_stop": return STREAMS.remove(request.get("name").asText()).stop();
            default: return Company.call(request);
        }
    }

    // ---- topics -------------------------------------------------------------------------------------------------

    static Admin admin(JsonNode request) {
        return ADMINS.computeIfAbsent(request.get("bootstrap").asText(), bootstrap -> {
            Properties properties = new Properties();
            properties.put("bootstrap.servers", bootstrap);
            properties.put("default.api.timeout.ms", "60000");
            properties.put("request.timeout.ms", "20000");
            properties.put("reconnect.backoff.max.ms", "200");
            return Admin.create(properties);
        });
    }

    static String topic(JsonNode request) {
        return request.get("topic").asText();
    }

    static JsonNode createTopic(JsonNode request) throws Exception {
        NewTopic topic = new NewTopic(topic(request), Optional.of(request.get("partitions").asInt()), Optional.empty());
        Map<String, String> config = new HashMap<>();
        request.path("config").properties().forEach(field -> config.put(field.getKey(), field.getValue().asText()));
        var made = admin(request).createTopics(List.of(topic.configs(config)));
        made.all().get();
        // Created is not yet known everywhere: a client that joins at once must see every partition.
        int known = 0;
        while (known < request.get("partitions").asInt()) {
            try {
                known = admin(request).describeTopics(List.of(topic(request))).allTopicNames().get().get(topic(request)).partitions().size();
            } catch (java.util.concurrent.ExecutionException error) {
                Thread.sleep(20);
            }
        }
        // Nor does every leader serve at once. A producer whose first batch is turned away while its second one is taken sends the
        // first again for ever: a broker that knows nothing of a producer takes any sequence number as its first.
        Map<TopicPartition, OffsetSpec> ends = new HashMap<>();
        for (int partition = 0; partition < known; partition++) {
            ends.put(new TopicPartition(topic(request), partition), OffsetSpec.latest());
        }
        admin(request).listOffsets(ends).all().get();
        return JSON.createObjectNode().put("id", made.topicId(topic(request)).get().toString());
    }

    static JsonNode deleteRecords(JsonNode request) throws Exception {
        var before = org.apache.kafka.clients.admin.RecordsToDelete.beforeOffset(request.get("before").asLong());
        var partition = new TopicPartition(topic(request), request.get("partition").asInt());
        admin(request).deleteRecords(Map.of(partition, before)).all().get();
        return JSON.createObjectNode();
    }

    static List<TopicPartition> partitions(JsonNode request) throws Exception {
        List<TopicPartition> all = new ArrayList<>();
        admin(request).describeTopics(List.of(topic(request))).allTopicNames().get().get(topic(request)).partitions()
            .forEach(info -> all.add(new TopicPartition(topic(request), info.partition())));
        return all;
    }

    /** The first or the next offset of each partition, as a reader of the given isolation sees it. */
    static JsonNode offsets(JsonNode request) throws Exception {
        Map<TopicPartition, OffsetSpec> wanted = new HashMap<>();
        OffsetSpec spec = request.path("first").asBoolean() ? OffsetSpec.earliest() : OffsetSpec.latest();
        partitions(request).forEach(partition -> wanted.put(partition, spec));
        ObjectNode reply = JSON.createObjectNode();
        admin(request).listOffsets(wanted).all().get()
            .forEach((partition, info) -> reply.put(String.valueOf(partition.partition()), info.offset()));
        return reply;
    }

    // ---- groups -------------------------------------------------------------------------------------------------

    /** {partition: {offset, metadata}} of one topic; partitions without a commit are left out. */
    static ObjectNode committed(JsonNode request) throws Exception {
        String group = request.get("group").asText();
        ObjectNode reply = JSON.createObjectNode();
        admin(request).listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata(group).get().forEach((partition, entry) -> {
            if (entry != null && partition.topic().equals(topic(request))) {
                reply.putObject(String.valueOf(partition.partition())).put("offset", entry.offset()).put("metadata", entry.metadata());
            }
        });
        return reply;
    }

    static JsonNode commit(JsonNode request) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> entries = new HashMap<>();
        request.get("offsets").properties().forEach(field -> entries.put(
            new TopicPartition(topic(request), Integer.parseInt(field.getKey())),
            new OffsetAndMetadata(field.getValue().asLong(), request.path("metadata").path(field.getKey()).asText(""))));
        admin(request).alterConsumerGroupOffsets(request.get("group").asText(), entries).all().get();
        return JSON.createObjectNode();
    }

    /** Waits until exactly these offsets are committed; the error says what was committed instead. */
    static JsonNode waitCommitted(JsonNode request) throws Exception {
        long end = System.currentTimeMillis() + request.get("timeout_ms").asLong();
        while (true) {
            ObjectNode seen = JSON.createObjectNode();
            committed(request).properties().forEach(field -> seen.set(field.getKey(), JSON.getNodeFactory().numberNode(field.getValue().get("offset").asLong())));
            boolean same = true;
            for (var field : request.get("offsets").properties()) {
                same &= seen.path(field.getKey()).asLong(-1) == field.getValue().asLong();
            }
            if (same) {
                return seen;
            }
            if (System.currentTimeMillis() >= end) {
                throw new IllegalStateException("expected committed offsets " + request.get("offsets") + ", Kafka has " + seen);
            }
            Thread.sleep(20);
        }
    }

    static JsonNode group(JsonNode request) throws Exception {
        String name = request.get("group").asText();
        ObjectNode reply = JSON.createObjectNode();
        ArrayNode members = reply.putArray("members");
        try {
            var group = admin(request).describeConsumerGroups(List.of(name)).describedGroups().get(name).get();
            reply.put("state", group.groupState().toString());
            group.members().forEach(member -> {
                ObjectNode one = members.addObject().put("id", member.consumerId()).put("client", member.clientId());
                one.put("instance", member.groupInstanceId().orElse(null));
                ArrayNode held = one.putArray("partitions");
                member.assignment().topicPartitions().forEach(partition -> held.addArray().add(partition.topic()).add(partition.partition()));
            });
        } catch (java.util.concurrent.ExecutionException error) {
            if (!(error.getCause() instanceof org.apache.kafka.common.errors.GroupIdNotFoundException)) {
                throw error;
            }
            reply.put("state", "Dead");
        }
        return reply;
    }

    static JsonNode groups(JsonNode request) throws Exception {
        ArrayNode names = JSON.createArrayNode();
        for (GroupListing group : admin(request).listGroups().all().get()) {
            names.add(group.groupId());
        }
        return names;
    }

    // ---- messages -----------------------------------------------------------------------------------------------

    static JsonNode bytes(byte[] bytes) {
        if (bytes == null) {
            return JSON.getNodeFactory().nullNode();
        }
        String text = new String(bytes, StandardCharsets.UTF_8);
        if (java.util.Arrays.equals(text.getBytes(StandardCharsets.UTF_8), bytes)) {
            return JSON.getNodeFactory().textNode(text);
        }
        return JSON.createObjectNode().put("b64", Base64.getEncoder().encodeToString(bytes));
    }

    static byte[] bytes(JsonNode node) {
        if (node == null || node.isNull() || node.isMissingNode()) {
            return null;
        }
        return node.isObject() ? Base64.getDecoder().decode(node.get("b64").asText()) : node.asText().getBytes(StandardCharsets.UTF_8);
    }

    static KafkaProducer<byte[], byte[]> producer(JsonNode request) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", request.get("bootstrap").asText());
        properties.put("delivery.timeout.ms", "600000");
        properties.put("max.block.ms", "600000");
        properties.put("linger.ms", "5");
        properties.put("reconnect.backoff.max.ms", "200");
        request.path("properties").properties().forEach(field -> properties.put(field.getKey(), field.getValue().asText()));
        return new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** Sends and waits for every confirmation; answers [[partition, offset], ...] in the order given. */
    static JsonNode produce(JsonNode request) throws Exception {
        try (KafkaProducer<byte[], byte[]> producer = producer(request)) {
            boolean transaction = request.path("properties").has("transactional.id");
            if (transaction) {
                producer.initTransactions();
                producer.beginTransaction();
            }
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (JsonNode message : request.get("messages")) {
                Integer partition = message.get(0).isNull() ? null : message.get(0).asInt();
                Long timestamp = message.get(2).isNull() ? null : message.get(2).asLong();
                var record = new ProducerRecord<>(topic(request), partition, timestamp, bytes(message.get(3)), bytes(message.get(4)));
                for (JsonNode header : message.path(5)) {
                    record.headers().add(header.get(0).asText(), bytes(header.get(1)));
                }
                sent.add(producer.send(record));
            }
            producer.flush();
            ArrayNode reply = JSON.createArrayNode();
            for (Future<RecordMetadata> one : sent) {
                RecordMetadata done = one.get();
                reply.addArray().add(done.partition()).add(done.offset());
            }
            if (transaction && request.path("abort").asBoolean()) {
                producer.abortTransaction();
            } else if (transaction) {
                producer.commitTransaction();
            }
            return reply;
        }
    }

    static KafkaConsumer<byte[], byte[]> consumer(JsonNode request) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", request.get("bootstrap").asText());
        properties.put("enable.auto.commit", "false");
        properties.put("auto.offset.reset", "earliest");
        properties.put("max.poll.records", "5000");
        properties.put("isolation.level", request.path("isolation").asText("read_committed"));
        return new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /**
     * Reads from the given first offsets (default: the beginning) until `count` messages were read or, without it, up to
     * the end as it is now. With `count` it fails when they do not come within `timeout_ms`.
     */
    static JsonNode read(JsonNode request) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(request)) {
            List<TopicPartition> partitions = partitions(request);
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            request.path("from").properties().forEach(field ->
                consumer.seek(new TopicPartition(topic(request), Integer.parseInt(field.getKey())), field.getValue().asLong()));
            long count = request.path("count").isNumber() ? request.get("count").asLong() : -1;
            long deadline = System.currentTimeMillis() + request.path("timeout_ms").asLong(60_000);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            long seen = 0;
            while (count >= 0 ? seen < count : behind(consumer, ends)) {
                if (System.currentTimeMillis() > deadline) {
                    throw new IllegalStateException("read " + seen + " messages of " + topic(request) + " before the time was up"
                        + (count >= 0 ? ", expected " + count : ""));
                }
                var records = consumer.poll(java.time.Duration.ofMillis(100));
                ArrayNode part = JSON.createArrayNode();
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    if (count < 0 && record.offset() >= ends.get(new TopicPartition(record.topic(), record.partition()))) {
                        continue;
                    }
                    part.add(message(record));
                    seen++;
                }
                if (!part.isEmpty()) {
                    ObjectNode line = JSON.createObjectNode().put("id", request.get("id").asLong());
                    line.set("part", part);
                    say(line);
                }
            }
            return JSON.createObjectNode().put("count", seen);
        }
    }

    /**
     * When messages of a topic were appended, without the messages: [partition, time, how many] for each millisecond in
     * which a partition was appended to, in its order. Meant for a topic with the broker's own times.
     */
    static JsonNode appends(JsonNode request) throws Exception {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(request)) {
            List<TopicPartition> partitions = partitions(request);
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            Map<Integer, long[]> open = new HashMap<>();
            ArrayNode part = JSON.createArrayNode();
            while (behind(consumer, ends)) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(java.time.Duration.ofMillis(100))) {
                    long[] last = open.computeIfAbsent(record.partition(), partition -> new long[] {record.timestamp(), 0});
                    if (last[0] != record.timestamp()) {
                        part.addArray().add(record.partition()).add(last[0]).add(last[1]);
                        last[0] = record.timestamp();
                        last[1] = 0;
                    }
                    last[1]++;
                    if (part.size() >= 5000) {
                        sayPart(request, part);
                    }
                }
            }
            open.forEach((partition, last) -> part.addArray().add(partition.intValue()).add(last[0]).add(last[1]));
            sayPart(request, part);
            return JSON.createObjectNode();
        }
    }

    static boolean behind(KafkaConsumer<byte[], byte[]> consumer, Map<TopicPartition, Long> ends) {
        return ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue());
    }

    static ArrayNode message(ConsumerRecord<byte[], byte[]> record) {
        ArrayNode message = JSON.createArrayNode().add(record.partition()).add(record.offset()).add(record.timestamp());
        message.add(bytes(record.key())).add(bytes(record.value()));
        ArrayNode headers = message.addArray();
        for (Header header : record.headers()) {
            headers.addArray().add(header.key()).add(bytes(header.value()));
        }
        return message;
    }

    /**
     * Every commit of a group on a topic in the order the broker wrote them: [partition, offset, broker's time, metadata].
     * From __consumer_offsets itself: the last commit says where a group is, the list says whether it ever was too far.
     */
    static JsonNode commits(JsonNode request) throws Exception {
        ArrayNode part = JSON.createArrayNode();
        eachGroupRecord(request, (kind, key, record) -> {
            if (kind > 1) {
                return;
            }
            OffsetCommitKey name = new OffsetCommitKey(new ByteBufferAccessor(key), (short) 0);
            if (!name.group().equals(request.get("group").asText()) || !name.topic().equals(topic(request))) {
                return;
            }
            ByteBuffer value = ByteBuffer.wrap(record.value());
            OffsetCommitValue commit = new OffsetCommitValue(new ByteBufferAccessor(value), value.getShort());
            part.addArray().add(name.partition()).add(commit.offset()).add(commit.commitTimestamp()).add(commit.metadata());
            if (part.size() >= 5000) {
                sayPart(request, part);
            }
        });
        sayPart(request, part);
        return JSON.createObjectNode();
    }

    /** When the broker first wrote down that a member of a (classic) group was given something: {time}, null if never. */
    static JsonNode assigned(JsonNode request) throws Exception {
        ObjectNode reply = JSON.createObjectNode().putNull("time");
        eachGroupRecord(request, (kind, key, record) -> {
            if (kind != 2 || !reply.get("time").isNull()
                || !new GroupMetadataKey(new ByteBufferAccessor(key), (short) 0).group().equals(request.get("group").asText())) {
                return;
            }
            ByteBuffer value = ByteBuffer.wrap(record.value());
            GroupMetadataValue group = new GroupMetadataValue(new ByteBufferAccessor(value), value.getShort());
            if (group.members().stream().anyMatch(member -> member.assignment().length > 0)) {
                reply.put("time", record.timestamp());
            }
        });
        return reply;
    }

    interface GroupRecord {
        void see(short kind, ByteBuffer key, ConsumerRecord<byte[], byte[]> record);
    }

    /** Reads __consumer_offsets to its end as it is now; records without a value are left out. */
    static void eachGroupRecord(JsonNode request, GroupRecord each) throws Exception {
        ObjectNode inner = (ObjectNode) request.deepCopy();
        inner.put("topic", "__consumer_offsets");
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(inner)) {
            List<TopicPartition> partitions = partitions(inner);
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (behind(consumer, ends)) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(java.time.Duration.ofMillis(100))) {
                    if (record.value() != null) {
                        ByteBuffer key = ByteBuffer.wrap(record.key());
                        each.see(key.getShort(), key, record);
                    }
                }
            }
        }
    }

    static void sayPart(JsonNode request, ArrayNode part) {
        if (!part.isEmpty()) {
            ObjectNode line = JSON.createObjectNode().put("id", request.get("id").asLong());
            line.set("part", part.deepCopy());
            say(line);
            part.removeAll();
        }
    }
}
