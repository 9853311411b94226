//! A cluster of several nodes, each a JVM of its own.
//!
//! Topics have as many replicas as there are nodes, unless [`Eye::create_topic_on`] says where they lie, and one replica
//! in sync is enough, unless `min.insync.replicas` says otherwise. Of three nodes all are controllers, and any one may die.
//! Of two only the first is: the second may die, and the cluster goes on electing leaders.

use anyhow::{Context, Result};

use crate::broker::{Broker, Options, Seat};
use crate::eye::Eye;
use crate::ports;

/// Several nodes. They are killed when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Broker>,
}

impl Cluster {
    /// Starts so many nodes and waits until each serves clients.
    ///
    /// # Errors
    /// A node does not start; the end of its log is part of the message.
    pub fn start(count: usize, options: &Options) -> Result<Self> {
        let controllers = if count == 2 { 1 } else { count };
        let ports = (0..controllers).map(|_| ports::free()).collect::<Result<Vec<_>>>()?;
        let voters: Vec<_> = (1..).zip(&ports).map(|(id, port)| format!("{id}@127.0.0.1:{port}")).collect();
        let cluster = id();
        let nodes = (0..count).map(|index| {
            let controller = ports.get(index).copied();
            let id = u32::try_from(index + 1).context("so many nodes")?;
            let (voters, cluster) = (voters.join(","), Some(cluster.clone()));
            Broker::format(options, &Seat { id, nodes: count, controller, voters, cluster })
        });
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        let ready = nodes.iter().map(Broker::launch).collect::<Result<Vec<_>>>()?;
        nodes.iter().zip(&ready).try_for_each(|(node, ready)| node.await_ready(ready))?;
        Ok(Self { nodes })
    }

    /// A node by its id, from 1.
    pub fn node(&self, id: usize) -> &Broker {
        &self.nodes[id - 1]
    }

    /// The addresses of all nodes.
    pub fn bootstrap(&self) -> String {
        self.nodes.iter().map(Broker::bootstrap).collect::<Vec<_>>().join(",")
    }

    /// The second opinion on this cluster.
    ///
    /// # Errors
    /// See [`Eye::new`].
    pub fn eye(&self) -> Result<Eye> {
        Eye::new(&self.bootstrap())
    }
}

/// A new cluster's id: 16 bytes in base 64 for addresses, which begin with no dash.
fn id() -> String {
    use base64::Engine as _;
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = 0;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
