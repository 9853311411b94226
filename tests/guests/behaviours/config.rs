//! Emits its settings, one output each (key and value), for every message; headers name pipeline, group and digest.
//! The topic and partition it read from are the headers `topic` and `partition`.

use wasmill_handler::prelude::*;

struct Config(Context);

handler!(Config);

impl Handler for Config {
    fn init(context: &Context) -> Result<Self, String> {
        log::info!("{} settings", context.settings().count());
        Ok(Self(context.clone()))
    }

    fn handle(&mut self, message: &Message, out: &mut Outputs) -> Verdict {
        for (key, value) in self.0.settings() {
            out.to(Topic::DEFAULT)
                .key(Some(key.as_bytes()))
                .value(Some(value.as_bytes()))
                .header("pipeline", Some(self.0.pipeline().as_bytes()))
                .header("group", Some(self.0.group().as_bytes()))
                .header("digest", Some(self.0.digest().as_bytes()))
                .header("topic", Some(message.topic().as_bytes()))
                .header("partition", Some(message.partition().to_string().as_bytes()))
                .send();
        }
        ack()
    }
}
