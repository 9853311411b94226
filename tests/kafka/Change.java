import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.common.config.ConfigResource;

/** Changes of a topic that is there. */
final class Change {
    static JsonNode alterTopic(JsonNode request) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, Eye.topic(request));
        var entry = new ConfigEntry(request.get("name").asText(), request.get("value").asText());
        var set = new AlterConfigOp(entry, AlterConfigOp.OpType.SET);
        Eye.admin(request).incrementalAlterConfigs(Map.of(resource, List.of(set))).all().get();
        return Eye.JSON.createObjectNode();
    }
}
