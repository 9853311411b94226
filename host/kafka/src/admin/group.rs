//! What a consumer group does and where it stands, and how to move it while it rests.

use std::ptr::null;
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_admin_op_t as Op;
use rdkafka::bindings::rd_kafka_resp_err_t as E;
use wasmill_core::Position;

use super::{Admin, check, slice};
use crate::TopicPartition;
use crate::error::{ClientError, Code, text_of};
use crate::list::{Row, list_of, rows};
use crate::native::c_string;
use crate::offsets::{EARLIEST, LATEST};

/// A group as its coordinator knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// `Stable`, `Empty`, `PreparingRebalance`, `CompletingRebalance` and so on. `Dead`: the group does not exist.
    pub state: String,
    /// How partitions are shared out, such as `range`; empty for a group without members.
    pub assignor: String,
    /// Who is in it.
    pub members: Vec<GroupMember>,
    /// Every partition the group has committed or holds, by topic and number.
    pub partitions: Vec<GroupPartition>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The id the coordinator gave it.
    pub id: String,
    /// `client.id`.
    pub client_id: String,
    /// The address it comes from.
    pub host: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// What it holds.
    pub partitions: Vec<TopicPartition>,
}

/// Where a group stands in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPartition {
    /// The partition.
    pub id: TopicPartition,
    /// The committed offset; absent: nothing was committed.
    pub committed: Option<i64>,
    /// The offset the next message will get; absent: the partition is gone or has no leader.
    pub end: Option<i64>,
}

impl GroupPartition {
    /// How many offsets are between the commit and the end. Markers and compacted messages count.
    pub fn lag(&self) -> Option<i64> {
        Some((self.end? - self.committed?).max(0))
    }
}

impl Admin {
    /// What a group does and where it stands. A group that does not exist is described as `Dead`, without partitions.
    ///
    /// # Errors
    /// `GROUP_AUTHORIZATION_FAILED` and so on; no answer in time.
    pub fn group_describe(&self, group: &str, timeout: Duration) -> Result<GroupDescription, ClientError> {
        let deadline = Instant::now() + timeout;
        let left = || deadline.saturating_duration_since(Instant::now());
        let mut described = self.group_members(group, timeout)?;
        let committed = self.group_committed(group, left())?;
        let mut ids: Vec<TopicPartition> = committed.iter().map(|(id, _)| id.clone()).collect();
        ids.extend(described.members.iter().flat_map(|member| member.partitions.iter().cloned()));
        ids.sort();
        ids.dedup();
        let ends = self.ends(&ids, left())?;
        let at = |id: &TopicPartition| committed.iter().find(|(of, _)| of == id).map(|&(_, offset)| offset);
        described.partitions =
            ids.into_iter().zip(ends).map(|(id, end)| GroupPartition { committed: at(&id), id, end }).collect();
        Ok(described)
    }

    /// Moves the group's committed offsets in one topic, in `partitions` or in all if empty, and says where to. Metadata of
    /// the old commits is gone with them.
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP` if somebody is in the group: a running member would commit over it. `OFFSET_OUT_OF_RANGE` for an
    /// offset that the partition does not hold.
    pub fn group_reset(
        &self,
        group: &str,
        topic: &str,
        partitions: &[i32],
        to: Position,
        timeout: Duration,
    ) -> Result<Vec<(TopicPartition, i64)>, ClientError> {
        let deadline = Instant::now() + timeout;
        let left = || deadline.saturating_duration_since(Instant::now());
        let members = self.group_members(group, timeout)?.members.len();
        if members > 0 {
            return Err(not_empty(group, members));
        }
        let known = self.describe_topic(topic, left())?;
        let mut moved = Vec::new();
        for partition in &known.partitions {
            if partitions.is_empty() || partitions.contains(&partition.id) {
                moved.push(TopicPartition::new(topic, partition.id));
            }
        }
        if let Some(missing) = partitions.iter().find(|id| moved.iter().all(|moved| moved.partition != **id)) {
            let code = Code(E::RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION as i32);
            return Err(ClientError::request(format!("partition {topic}/{missing}"), code));
        }
        let targets = match to {
            Position::Earliest => self.offsets(&moved, EARLIEST, left())?,
            Position::Latest => self.offsets(&moved, LATEST, left())?,
            Position::Offset(offset) => vec![Some(offset); moved.len()],
            Position::Last(count) => moved.iter().map(|id| known.before_end(id.partition, count)).collect(),
            Position::Time(time) => {
                let found = self.offsets(&moved, time.max(0), left())?;
                let ends = self.offsets(&moved, LATEST, left())?;
                found.into_iter().zip(ends).map(|(found, end)| found.or(end)).collect()
            }
        };
        let mut reset = Vec::new();
        for (id, target) in moved.into_iter().zip(targets) {
            let held = known.partitions.iter().find(|partition| partition.id == id.partition);
            let (low, high) = held.map_or((None, None), |partition| (partition.low, partition.high));
            match (target, low, high) {
                (Some(target), Some(low), Some(high)) if (low..=high).contains(&target) => reset.push((id, target)),
                (target, low, high) => return Err(out_of_range(&id, target, low, high)),
            }
        }
        self.persist(left(), |left| self.group_alter(group, &reset, left))
            .map_err(|error| error.needing("Read", "group", group))?;
        Ok(reset)
    }

    /// What a group does and who is in it, without where it stands.
    ///
    /// # Errors
    /// As [`Admin::group_describe`].
    pub fn group_members(&self, group: &str, timeout: Duration) -> Result<GroupDescription, ClientError> {
        self.persist(timeout, |left| self.group_members_once(group, left))
            .map_err(|error| error.needing("Describe", "group", group))
    }

    fn group_members_once(&self, group: &str, timeout: Duration) -> Result<GroupDescription, ClientError> {
        let what = format!("group {group}");
        let name = c_string(group, "group")?;
        let answer = self.call(&what, Op::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, timeout, |options, queue| {
            let mut names = [name.as_ptr()];
            // SAFETY: client, options and queue live; the array of one name is read during the call.
            unsafe { sys::rd_kafka_DescribeConsumerGroups(self.client.ptr(), names.as_mut_ptr(), 1, options, queue) }
        })?;
        // SAFETY: the event is the answer to this request; the descriptions and their texts live as long as it.
        unsafe {
            let result = sys::rd_kafka_event_DescribeConsumerGroups_result(answer.ptr());
            let mut count = 0;
            let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
            match slice(groups, count).first() {
                Some(&described) => description(&what, described),
                None => Err(ClientError::request(what, Code(E::RD_KAFKA_RESP_ERR__TIMED_OUT as i32))),
            }
        }
    }

    /// Everything the group has committed.
    fn group_committed(&self, group: &str, timeout: Duration) -> Result<Vec<(TopicPartition, i64)>, ClientError> {
        self.persist(timeout, |left| self.group_committed_once(group, left))
            .map_err(|error| error.needing("Describe", "group", group))
    }

    fn group_committed_once(&self, group: &str, timeout: Duration) -> Result<Vec<(TopicPartition, i64)>, ClientError> {
        let what = format!("committed offsets of group {group}");
        let name = c_string(group, "group")?;
        // SAFETY: the name lives during the call; NULL asks for all partitions; the new value is given back below.
        let mut request = unsafe { sys::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), null()) };
        let answer = self.call(&what, Op::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, timeout, |options, queue| {
            // SAFETY: client, options and queue live; the array of one is read during the call.
            unsafe { sys::rd_kafka_ListConsumerGroupOffsets(self.client.ptr(), &mut request, 1, options, queue) }
        });
        // SAFETY: made above, copied by the request, given back once.
        unsafe { sys::rd_kafka_ListConsumerGroupOffsets_destroy(request) };
        let answer = match answer {
            // Newer brokers say so of a group that they do not know.
            Err(error) if error.code() == Some("GROUP_ID_NOT_FOUND") => return Ok(Vec::new()),
            other => other?,
        };
        // SAFETY: as in `group_members`.
        let found = unsafe {
            let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(answer.ptr());
            let mut count = 0;
            group_results(&what, sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count), count)?
        };
        let held = found.into_iter().filter(|entry| entry.offset >= 0 && !entry.err.is_error());
        Ok(held.map(|entry| (entry.id, entry.offset)).collect())
    }

    fn group_alter(
        &self,
        group: &str,
        offsets: &[(TopicPartition, i64)],
        timeout: Duration,
    ) -> Result<(), ClientError> {
        let what = format!("reset group {group}");
        let name = c_string(group, "group")?;
        let list = list_of(offsets.iter().map(|(id, offset)| (id, *offset)))?;
        // SAFETY: name and list live during the call and are copied; the new value is given back below.
        let mut request = unsafe { sys::rd_kafka_AlterConsumerGroupOffsets_new(name.as_ptr(), list.ptr()) };
        let answer = self.call(&what, Op::RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, timeout, |options, queue| {
            // SAFETY: client, options and queue live; the array of one is read during the call.
            unsafe { sys::rd_kafka_AlterConsumerGroupOffsets(self.client.ptr(), &mut request, 1, options, queue) }
        });
        // SAFETY: made above, copied by the request, given back once.
        unsafe { sys::rd_kafka_AlterConsumerGroupOffsets_destroy(request) };
        let answer = answer?;
        // SAFETY: as in `group_members`.
        let answered = unsafe {
            let result = sys::rd_kafka_event_AlterConsumerGroupOffsets_result(answer.ptr());
            let mut count = 0;
            group_results(&what, sys::rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &mut count), count)?
        };
        for entry in answered {
            // Somebody joined between our look and the request: the coordinator does not know a member without an id.
            if entry.err.is(E::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID) {
                return Err(not_empty(group, 1));
            }
            check(&format!("{what}, partition {}", entry.id), entry.err, null())
                .map_err(|error| error.needing("Read", "group", group).needing("Read", "topic", &entry.id.topic))?;
        }
        Ok(())
    }

    /// Ends of partitions, some of which may be gone: those are None instead of failing the whole.
    fn ends(&self, ids: &[TopicPartition], timeout: Duration) -> Result<Vec<Option<i64>>, ClientError> {
        match self.offsets(ids, LATEST, timeout) {
            Err(error) if ids.len() > 1 && !error.is_transient() => {
                let one = |id: &TopicPartition| match self.offsets(std::slice::from_ref(id), LATEST, timeout) {
                    Ok(found) => Ok(found.into_iter().next().flatten()),
                    Err(error) if error.is_transient() => Err(error),
                    Err(_) => Ok(None),
                };
                ids.iter().map(one).collect()
            }
            Err(error) if !error.is_transient() => Ok(vec![None; ids.len()]),
            other => other,
        }
    }
}

/// # Safety
/// The results live during the call.
unsafe fn group_results(
    what: &str,
    groups: *mut *const sys::rd_kafka_group_result_t,
    count: usize,
) -> Result<Vec<Row>, ClientError> {
    let mut all = Vec::new();
    // SAFETY: promised by the caller; an error's text lives as long as the result.
    unsafe {
        for &group in slice(groups, count) {
            let error = sys::rd_kafka_group_result_error(group);
            check(what, Code::of(error), sys::rd_kafka_error_string(error))?;
            all.extend(rows(sys::rd_kafka_group_result_partitions(group)));
        }
    }
    Ok(all)
}

/// # Safety
/// The description lives during the call.
unsafe fn description(
    what: &str,
    group: *const sys::rd_kafka_ConsumerGroupDescription_t,
) -> Result<GroupDescription, ClientError> {
    // SAFETY: promised by the caller; everything reached from it lives as long.
    unsafe {
        let mut described = GroupDescription {
            state: text_of(sys::rd_kafka_consumer_group_state_name(sys::rd_kafka_ConsumerGroupDescription_state(
                group,
            ))),
            assignor: text_of(sys::rd_kafka_ConsumerGroupDescription_partition_assignor(group)),
            members: Vec::new(),
            partitions: Vec::new(),
        };
        let error = sys::rd_kafka_ConsumerGroupDescription_error(group);
        let code = Code::of(error);
        if code.is(E::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND) {
            described.state = "Dead".into();
            return Ok(described);
        }
        check(what, code, sys::rd_kafka_error_string(error))?;
        for index in 0..sys::rd_kafka_ConsumerGroupDescription_member_count(group) {
            described.members.push(member(sys::rd_kafka_ConsumerGroupDescription_member(group, index)));
        }
        Ok(described)
    }
}

/// # Safety
/// The description lives during the call.
unsafe fn member(member: *const sys::rd_kafka_MemberDescription_t) -> GroupMember {
    // SAFETY: promised by the caller; everything reached from it lives as long.
    unsafe {
        let instance = sys::rd_kafka_MemberDescription_group_instance_id(member);
        let assignment = sys::rd_kafka_MemberDescription_assignment(member);
        let held =
            if assignment.is_null() { Vec::new() } else { rows(sys::rd_kafka_MemberAssignment_partitions(assignment)) };
        GroupMember {
            id: text_of(sys::rd_kafka_MemberDescription_consumer_id(member)),
            client_id: text_of(sys::rd_kafka_MemberDescription_client_id(member)),
            host: text_of(sys::rd_kafka_MemberDescription_host(member)),
            instance_id: (!instance.is_null()).then(|| text_of(instance)),
            partitions: held.into_iter().map(|entry| entry.id).collect(),
        }
    }
}

fn not_empty(group: &str, members: usize) -> ClientError {
    ClientError::Refused {
        what: format!("reset group {group}"),
        code: "NON_EMPTY_GROUP".into(),
        text: format!(
            "the group has {members} members; hint: stop them first, or they would commit over it; `wasmill seek` moves a pipeline that runs"
        ),
    }
}

fn out_of_range(id: &TopicPartition, target: Option<i64>, low: Option<i64>, high: Option<i64>) -> ClientError {
    let show = |offset: Option<i64>| offset.map_or("?".into(), |offset| offset.to_string());
    ClientError::Refused {
        what: format!("reset partition {id}"),
        code: "OFFSET_OUT_OF_RANGE".into(),
        text: format!("offset {} is not within {} to {}", show(target), show(low), show(high)),
    }
}
