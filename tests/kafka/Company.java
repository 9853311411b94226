import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AccessControlEntryFilter;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourcePatternFilter;
import org.apache.kafka.common.resource.ResourceType;

/** What an administrator does: ACLs, quotas, configuration, partitions and their leaders. */
final class Company {
    private Company() {}

    static JsonNode call(JsonNode request) throws Exception {
        Admin admin = Eye.admin(request);
        switch (request.get("call").asText()) {
            case "acl_add": return add(admin, request);
            case "acl_remove": return remove(admin, request);
            case "quota": return quota(admin, request);
            case "configure": return configure(admin, request);
            case "add_partitions": return addPartitions(admin, request);
            case "create_assigned": return createAssigned(admin, request);
            case "leaders": return leaders(admin, request);
            default: throw new IllegalArgumentException("no call named " + request.get("call"));
        }
    }

    private static ResourcePattern pattern(JsonNode request) {
        PatternType type = request.get("prefixed").asBoolean() ? PatternType.PREFIXED : PatternType.LITERAL;
        return new ResourcePattern(ResourceType.fromString(request.get("type").asText()), request.get("name").asText(), type);
    }

    /** Returns when the broker that was asked goes by the new ACLs. */
    private static JsonNode add(Admin admin, JsonNode request) throws Exception {
        List<AclBinding> bindings = new ArrayList<>();
        AclPermissionType permission = AclPermissionType.fromString(request.get("permission").asText());
        for (JsonNode operation : request.get("operations")) {
            // As in the documentation and as kafka-acls.sh takes them: DescribeConfigs.
            AclOperation what = AclOperation.fromString(operation.asText().replaceAll("([a-z])([A-Z])", "$1_$2"));
            bindings.add(new AclBinding(pattern(request), new AccessControlEntry(request.get("principal").asText(), "*", what, permission)));
        }
        admin.createAcls(bindings).all().get();
        while (!of(admin, request).containsAll(bindings)) {
            Thread.sleep(10);
        }
        return Eye.JSON.createObjectNode();
    }

    /** All of one principal on one resource. */
    private static JsonNode remove(Admin admin, JsonNode request) throws Exception {
        admin.deleteAcls(List.of(filter(request))).all().get();
        while (!of(admin, request).isEmpty()) {
            Thread.sleep(10);
        }
        return Eye.JSON.createObjectNode();
    }

    private static AclBindingFilter filter(JsonNode request) {
        ResourcePattern pattern = pattern(request);
        return new AclBindingFilter(
            new ResourcePatternFilter(pattern.resourceType(), pattern.name(), pattern.patternType()),
            new AccessControlEntryFilter(request.get("principal").asText(), null, AclOperation.ANY, AclPermissionType.ANY));
    }

    private static Collection<AclBinding> of(Admin admin, JsonNode request) throws Exception {
        return admin.describeAcls(filter(request)).values().get();
    }

    private static JsonNode quota(Admin admin, JsonNode request) throws Exception {
        List<ClientQuotaAlteration.Op> changes = new ArrayList<>();
        request.get("quotas").properties().forEach(field -> changes.add(
            new ClientQuotaAlteration.Op(field.getKey(), field.getValue().isNull() ? null : field.getValue().asDouble())));
        ClientQuotaEntity user = new ClientQuotaEntity(Map.of(ClientQuotaEntity.USER, request.get("user").asText()));
        admin.alterClientQuotas(List.of(new ClientQuotaAlteration(user, changes))).all().get();
        return Eye.JSON.createObjectNode();
    }

    /** Of a topic, or of all brokers where no topic is named. A value of null takes the entry away. */
    private static JsonNode configure(Admin admin, JsonNode request) throws Exception {
        ConfigResource resource = request.path("topic").isTextual()
            ? new ConfigResource(ConfigResource.Type.TOPIC, Eye.topic(request))
            : new ConfigResource(ConfigResource.Type.BROKER, "");
        Collection<AlterConfigOp> changes = new ArrayList<>();
        request.get("config").properties().forEach(field -> changes.add(field.getValue().isNull()
            ? new AlterConfigOp(new ConfigEntry(field.getKey(), null), AlterConfigOp.OpType.DELETE)
            : new AlterConfigOp(new ConfigEntry(field.getKey(), field.getValue().asText()), AlterConfigOp.OpType.SET)));
        admin.incrementalAlterConfigs(Map.of(resource, changes)).all().get();
        return Eye.JSON.createObjectNode();
    }

    private static JsonNode addPartitions(Admin admin, JsonNode request) throws Exception {
        int total = request.get("total").asInt();
        admin.createPartitions(Map.of(Eye.topic(request), NewPartitions.increaseTo(total))).all().get();
        while (Eye.partitions(request).size() < total) {
            Thread.sleep(10);
        }
        return Eye.JSON.createObjectNode();
    }

    private static JsonNode createAssigned(Admin admin, JsonNode request) throws Exception {
        Map<Integer, List<Integer>> replicas = new HashMap<>();
        for (JsonNode partition : request.get("replicas")) {
            List<Integer> nodes = new ArrayList<>();
            partition.forEach(node -> nodes.add(node.asInt()));
            replicas.put(replicas.size(), nodes);
        }
        Map<String, String> config = new HashMap<>();
        request.path("config").properties().forEach(field -> config.put(field.getKey(), field.getValue().asText()));
        admin.createTopics(List.of(new NewTopic(Eye.topic(request), replicas).configs(config))).all().get();
        for (boolean led = false; !led; ) {
            Thread.sleep(10);
            try {
                JsonNode now = leaders(admin, request);
                led = now.size() == replicas.size();
                for (JsonNode leader : now) {
                    led &= leader.asInt() >= 0;
                }
            } catch (java.util.concurrent.ExecutionException error) {
                led = false;
            }
        }
        return Eye.JSON.createObjectNode();
    }

    /** The node that leads each partition; -1: none does. */
    private static ArrayNode leaders(Admin admin, JsonNode request) throws Exception {
        ArrayNode leaders = Eye.JSON.createArrayNode();
        admin.describeTopics(List.of(Eye.topic(request))).allTopicNames().get().get(Eye.topic(request)).partitions()
            .forEach(partition -> leaders.add(partition.leader() == null ? -1 : partition.leader().id()));
        return leaders;
    }
}
