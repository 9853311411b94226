//! The harness of a company's broker and of clusters: if they let everybody in, the tests on them say nothing.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use wasmill_tests::broker::Options;
use wasmill_tests::cluster::Cluster;
use wasmill_tests::company::{TLS, company, token};
use wasmill_tests::eye::{Eye, Message};
use wasmill_tests::mill::{self, once};
use wasmill_tests::rights::Resource;
use wasmill_tests::shared::{Place, unique};

const SHORT: Duration = Duration::from_secs(30);

/// Kafka's own client with this login, and what became of one message.
fn produce_as(bootstrap: &str, mechanism: &str, jaas: &str, topic: &str) -> Result<()> {
    let properties = json!({
        "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism, "sasl.jaas.config": jaas,
        "max.block.ms": "10000", "delivery.timeout.ms": "10000", "request.timeout.ms": "5000", "linger.ms": "0",
        // Else the first refusal would be that of a producer id.
        "enable.idempotence": "false",
    });
    Eye::new(bootstrap)?.produce_with(topic, &[Message::new("k", "v").on(0)], &properties, false).map(drop)
}

fn plain(user: &str, password: &str) -> String {
    format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{user}\" password=\"{password}\";"
    )
}

#[test]
fn a_principal_is_refused_until_an_acl_allows_it_and_again_once_one_denies_it() -> Result<()> {
    let company = company()?;
    let (person, topic) = (company.person()?, unique("guarded"));
    company.eye.create_topic(&topic, 1, &[])?;
    let produce =
        || produce_as(&person.bootstrap, "PLAIN", &plain(&person.name, &format!("secret of {}", person.name)), &topic);
    let refused = |what: &str| -> Result<()> {
        let text = format!("{:#}", produce().err().with_context(|| format!("{what}: not refused"))?);
        assert!(text.contains("TopicAuthorizationException"), "{what}: {text}");
        Ok(())
    };
    refused("nothing is allowed")?;
    company.eye.allow(&person.name, Resource::Topic(&topic), &["Write", "Describe"])?;
    produce()?;
    company.eye.deny(&person.name, Resource::Topic(&topic), &["Write"])?;
    refused("denied")?;
    company.eye.remove_acls(&person.name, Resource::Topic(&topic))?;
    company.eye.allow(&person.name, Resource::Topic(&format!("{topic}*")), &["Write"])?;
    produce()?;
    company.eye.quota(&person.name, &[("producer_byte_rate", Some(1e6))])?;
    company.eye.quota(&person.name, &[("producer_byte_rate", None)])?;
    let wrong = produce_as(&person.bootstrap, "PLAIN", &plain(&person.name, "wrong"), &topic);
    let wrong = format!("{:#}", wrong.err().context("a wrong password got in")?);
    assert!(wrong.contains("SaslAuthenticationException"), "{wrong}");
    assert_eq!(company.eye.end_offsets(&topic)?[&0], 2);
    Ok(())
}

#[test]
fn an_unsecured_token_names_its_principal() -> Result<()> {
    let company = company()?;
    let (topic, user) = (unique("tokens"), unique("bearer"));
    company.eye.create_topic(&topic, 1, &[])?;
    company.eye.allow(&user, Resource::Topic(&topic), &["Write", "Describe"])?;
    let bootstrap = company.person()?.bootstrap;
    let login = |user: &str| {
        format!(
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"{user}\";"
        )
    };
    produce_as(&bootstrap, "OAUTHBEARER", &login(&user), &topic)?;
    assert!(produce_as(&bootstrap, "OAUTHBEARER", &login("somebody-else"), &topic).is_err());
    assert_eq!(token("a", 60)?.split('.').count(), 3);
    Ok(())
}

#[test]
fn the_tls_port_speaks_tls() -> Result<()> {
    let company = company()?;
    let topic = unique("encrypted");
    company.eye.create_topic(&topic, 1, &[])?;
    let address = company.broker.address(TLS)?;
    let options = mill::Options::new(&address, "").property("security.protocol", "ssl");
    let ca = company.papers.ca().display().to_string();
    let listed = once(&options.property("ssl.ca.location", &ca), &["topic", "list"], "")?;
    let (out, err) = (String::from_utf8_lossy(&listed.stdout), String::from_utf8_lossy(&listed.stderr));
    assert!(listed.status.success() && out.contains(&topic), "{out}\n{err}");
    Ok(())
}

#[test]
fn the_first_of_two_nodes_takes_over_from_the_second() -> Result<()> {
    let _place = Place::take_all();
    let cluster = Cluster::start(2, &Options { heap_megabytes: 256, ..Options::default() })?;
    let eye = cluster.eye()?;
    eye.create_topic_on("both", &[&[2, 1]], &[])?;
    eye.create_topic_on("apart", &[&[1], &[2]], &[])?;
    eye.produce("both", &[Message::new("k", "before").on(0)])?;
    cluster.node(2).kill()?;
    eye.wait_leaders("both", &[1], SHORT)?;
    eye.wait_leaders("apart", &[1, -1], SHORT)?;
    eye.produce("both", &[Message::new("k", "after").on(0)])?;
    cluster.node(2).start_again()?;
    eye.wait_leaders("apart", &[1, 2], SHORT)?;
    let seen: Vec<_> = eye.read_count("both", 2, SHORT)?.iter().map(Message::text).collect();
    assert_eq!(seen, ["before", "after"]);
    Ok(())
}

#[test]
fn any_of_three_nodes_may_die() -> Result<()> {
    let _place = Place::take_all();
    let cluster = Cluster::start(3, &Options { heap_megabytes: 256, ..Options::default() })?;
    let eye = cluster.eye()?;
    eye.create_topic("three", 1, &[("min.insync.replicas", "2")])?;
    let leader = usize::try_from(eye.leaders("three")?[0])?;
    cluster.node(leader).kill()?;
    eye.produce("three", &[Message::new("k", "v")])?;
    assert_ne!(usize::try_from(eye.leaders("three")?[0])?, leader);
    Ok(())
}
