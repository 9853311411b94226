//! The contract's two worlds.

use serde::{Deserialize, Serialize};

/// Which of the contract's two worlds a plugin lives in.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// One call for each batch.
    Batches,
    /// One call for each message.
    Messages,
}

impl World {
    /// Every world that is accepted.
    pub(crate) const ALL: [Self; 2] = [Self::Batches, Self::Messages];

    /// As the contract names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Batches => "batches",
            Self::Messages => "messages",
        }
    }

    /// The world whose `handle` has so many parameters: one for a message, six for a batch. Whether they are the right
    /// ones is checked when a plugin is loaded.
    pub(crate) fn of_parameters(parameters: usize) -> Option<Self> {
        match parameters {
            1 => Some(Self::Messages),
            6 => Some(Self::Batches),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_is_written_as_the_contract_names_it() {
        for world in World::ALL {
            assert_eq!(serde_json::to_value(world).unwrap(), world.as_str());
            assert_eq!(serde_json::from_value::<World>(world.as_str().into()).unwrap(), world);
        }
    }
}
