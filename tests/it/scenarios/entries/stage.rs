//! A control plane, the stand-in for AWS that knows it as its cluster, and the operator between the two.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use identity_mapper::api::IdentityMapping;
use serde_json::{Value, json};

use crate::support::eks::{Call, Eks, Entry, Fault, Mark, Mode, World};
use crate::support::mappings::{FOREIGN, SOON, Seen, condition};
use crate::support::{Cluster, Operator, eventually};

/// The cluster in EKS.
pub(crate) const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/test";
/// The cluster's account.
pub(crate) const ACCOUNT: &str = "111122223333";
/// Another account.
pub(crate) const OTHER: &str = "444455556666";

/// For what waits out a period, or a pause between tries.
pub(crate) const PATIENT: Duration = Duration::from_secs(90);

/// Changes in AWS are noticed within some seconds.
pub(crate) const WATCHFUL: [&str; 4] = [
    "--listing-period=10s",
    "--sso-sweep=5s",
    "--refresh-period=20s",
    "--propagation=1s",
];
/// The operator works because something happened to mappings, not because time passed.
pub(crate) const NO_TIMER: [&str; 5] = [
    "--resync=24h",
    "--listing-period=1h",
    "--sso-sweep=1h",
    "--refresh-period=24h",
    "--propagation=1s",
];

/// The calls that change access entries.
const WRITES: [&str; 7] = [
    "CreateAccessEntry",
    "UpdateAccessEntry",
    "DeleteAccessEntry",
    "AssociateAccessPolicy",
    "DisassociateAccessPolicy",
    "TagResource",
    "UntagResource",
];

/// All three. The fields stand in the order in which they must go.
pub(crate) struct Stage {
    operator: Option<Operator>,
    pub(crate) eks: Eks,
    pub(crate) cluster: Cluster,
}

/// A world whose cluster is the control plane's.
pub(crate) fn world_of(cluster: &Cluster, arn: &str, mode: Mode) -> World {
    World::new(arn)
        .mode(mode)
        .api_server(&cluster.authority(), cluster.url())
}

impl Stage {
    /// All three, with a node role in aws-auth by hand where aws-auth is read.
    pub(crate) async fn new(mode: Mode, args: &[&str]) -> Self {
        Self::prepared(mode, args, |_| {}).await
    }

    /// The same, with something done to AWS before the operator starts.
    pub(crate) async fn prepared(mode: Mode, args: &[&str], prepare: impl FnOnce(&Eks)) -> Self {
        let mut stage = Self::without_operator(CLUSTER, mode).await;
        prepare(&stage.eks);
        stage.start(args).await;
        stage
    }

    /// The control plane and AWS alone.
    pub(crate) async fn without_operator(arn: &str, mode: Mode) -> Self {
        let cluster = Cluster::with_operator_rights().await;
        if mode != Mode::Api {
            cluster.seed(json!({ "mapRoles": FOREIGN })).await;
        }
        Self::of(cluster, arn, mode).await
    }

    /// This control plane, as it is, and AWS alone.
    pub(crate) async fn of(cluster: Cluster, arn: &str, mode: Mode) -> Self {
        let eks = Eks::start(world_of(&cluster, arn, mode)).await;
        Self {
            operator: None,
            eks,
            cluster,
        }
    }

    /// Starts the operator.
    pub(crate) async fn start(&mut self, args: &[&str]) {
        let operator = Operator::start_in(&self.cluster, &self.eks, args).await;
        self.operator = Some(operator);
    }

    /// Has this operator be the stage's.
    pub(crate) fn enter(&mut self, operator: Operator) {
        self.operator = Some(operator);
    }

    /// Stops the operator as a kubelet does.
    pub(crate) async fn stop(&mut self) {
        if let Some(operator) = self.operator.take() {
            let (status, _) = operator.stop().await;
            assert!(status.success(), "{status}");
        }
    }

    /// Ends the operator at once, as a crash does.
    pub(crate) fn crash(&mut self) {
        drop(self.operator.take());
    }

    /// The running operator.
    pub(crate) fn operator(&self) -> &Operator {
        self.operator.as_ref().expect("it was started")
    }

    /// Waits until a call of this operation is on its way: EKS has received it, and does it when the latency is over.
    pub(crate) async fn in_flight(&self, operation: &str) {
        eventually(&format!("{operation} is on its way"), SOON, async || {
            if self.eks.knobs().delayed(operation) > 0 {
                Ok(())
            } else {
                Err(self.calls())
            }
        })
        .await;
    }

    /// Waits until no call that changes anything is on its way.
    pub(crate) async fn nothing_in_flight(&self) {
        eventually("no call is on its way", SOON, async || {
            let knobs = self.eks.knobs();
            WRITES.iter().all(|operation| knobs.delayed(operation) == 0)
        })
        .await;
    }

    /// Waits until a mapping is gone, longer than [`Cluster::gone`] does.
    pub(crate) async fn gone(&self, name: &str) {
        eventually(&format!("{name} is gone"), PATIENT, async || {
            let object = self.cluster.mappings().get_opt(name).await.unwrap();
            object.map_or(Ok(()), |object| {
                Err(Box::new((object.status, self.calls())))
            })
        })
        .await;
    }

    // IAM.

    /// A role without a path in the cluster's account: its ARN.
    pub(crate) fn role(&self, name: &str) -> String {
        self.role_in(ACCOUNT, "/", name)
    }

    /// A role: its ARN.
    pub(crate) fn role_in(&self, account: &str, path: &str, name: &str) -> String {
        self.eks.world().role(account, path, name).arn
    }

    // Mappings.

    /// Makes a role and its mapping of the same name: the role's ARN.
    pub(crate) async fn declare(&self, name: &str, spec: Value) -> String {
        let arn = self.role(name);
        self.declare_for(name, &arn, spec).await;
        arn
    }

    /// Makes a mapping of this principal.
    pub(crate) async fn declare_for(&self, name: &str, arn: &str, mut spec: Value) {
        spec["principal"] = json!({ "arn": arn });
        self.cluster.declare(name, spec).await;
    }

    /// As [`Stage::declare`], and waits until it is in effect.
    pub(crate) async fn establish(&self, name: &str, spec: Value) -> String {
        let arn = self.declare(name, spec).await;
        self.cluster.ready(name).await;
        arn
    }

    /// As [`Stage::declare_for`], and waits until it is in effect.
    pub(crate) async fn establish_for(&self, name: &str, arn: &str, spec: Value) {
        self.declare_for(name, arn, spec).await;
        self.cluster.ready(name).await;
    }

    /// The object of a mapping.
    pub(crate) async fn object(&self, name: &str) -> IdentityMapping {
        self.cluster.mappings().get(name).await.unwrap()
    }

    /// Waits until a condition of a mapping has this status and reason, longer than [`Cluster::until`] does.
    pub(crate) async fn until(&self, name: &str, type_: &str, expected: &str) -> Seen {
        let what = format!("{type_} of {name} is {expected}");
        eventually(&what, PATIENT, async || {
            let object = self.object(name).await;
            match condition(&object, type_) {
                Some(seen) if seen.to_string() == expected => Ok(seen),
                _ => Err((object.status, self.calls())),
            }
        })
        .await
    }

    /// Deletes mappings as a person does: kubectl returns when they are gone.
    pub(crate) fn delete(&self, names: &[&str]) {
        let args = [&["delete", "idmap", "--timeout=60s"], names].concat();
        self.cluster.kubectl_ok(&args, None);
    }

    // Access entries.

    /// The access entry of a principal.
    pub(crate) fn entry(&self, arn: &str) -> Option<Arc<Entry>> {
        self.eks.world().cluster.entries.get(arn).cloned()
    }

    /// All access entries.
    pub(crate) fn entries(&self) -> BTreeMap<String, Arc<Entry>> {
        self.eks.world().cluster.entries.clone()
    }

    /// The policies of a principal's entry: their names, each with its namespaces or `cluster`.
    pub(crate) fn policies(&self, arn: &str) -> Vec<String> {
        let entry = self.entry(arn).expect("an access entry");
        let policies = entry.policies.iter().map(|(policy, association)| {
            let name = policy.rsplit('/').next().unwrap_or_default();
            let scope = association.namespaces.as_ref();
            let scope = scope.map_or_else(|| "cluster".to_owned(), |names| names.join(","));
            format!("{name} {scope}")
        });
        policies.collect()
    }

    /// Waits until the entry of a principal is as expected, and gives it back.
    pub(crate) async fn entry_until(
        &self,
        what: &str,
        arn: &str,
        wanted: impl Fn(Option<&Entry>) -> bool,
    ) {
        eventually(what, PATIENT, async || {
            let entry = self.entry(arn);
            if wanted(entry.as_deref()) {
                Ok(())
            } else {
                Err((entry, self.calls()))
            }
        })
        .await;
    }

    /// Waits until the entry of a principal is tagged with the principal's id: IAM was read after the principal was made.
    pub(crate) async fn tagged_with_id(&self, arn: &str) {
        self.entry_until("the id is kept", arn, |entry| {
            entry.is_some_and(|entry| entry.tags.contains_key("identity-mapper.dev/principal-id"))
        })
        .await;
    }

    /// Makes an entry as a person does.
    pub(crate) fn made_by_hand(&self, arn: &str, groups: &[&str]) {
        self.by_hand(
            "CreateAccessEntry",
            json!({ "principalArn": arn, "kubernetesGroups": groups }),
        );
    }

    /// Executes an operation as a person does.
    pub(crate) fn by_hand(&self, operation: &str, input: Value) -> Value {
        let answer = self.eks.by_hand(operation, input);
        answer.unwrap_or_else(|refusal| panic!("{operation}: {refusal:?}"))
    }

    /// Changes the tags of a principal's entry as a person does.
    pub(crate) fn untag_by_hand(&self, arn: &str) {
        let entry = self.entry(arn).expect("an access entry");
        let keys: Vec<&String> = entry.tags.keys().collect();
        self.by_hand(
            "UntagResource",
            json!({ "resourceArn": entry.arn, "tagKeys": keys }),
        );
    }

    // Calls.

    /// The end of the call log.
    pub(crate) fn mark(&self) -> Mark {
        self.eks.log().mark()
    }

    /// What the operator called since the mark about this principal to change anything, whatever came of it.
    pub(crate) fn writes_about(&self, arn: &str, mark: Mark) -> Vec<String> {
        self.writes_by(mark, |call| call.principal.as_deref() == Some(arn))
    }

    /// What the operator called since the mark to change anything, whatever came of it.
    pub(crate) fn writes(&self, mark: Mark) -> Vec<String> {
        self.writes_by(mark, |_| true)
    }

    fn writes_by(&self, mark: Mark, wanted: impl Fn(&Call) -> bool) -> Vec<String> {
        let log = self.eks.log();
        let calls = log.since(mark).iter();
        let writes = calls.filter(|call| {
            !call.by_hand && WRITES.contains(&call.operation.as_str()) && wanted(call)
        });
        writes.map(|call| call.operation.clone()).collect()
    }

    /// The last calls, for whoever reads a failure.
    pub(crate) fn calls(&self) -> Vec<String> {
        let log = self.eks.log();
        let last = log.all().iter().rev().take(40);
        last.map(|call| {
            let about = call.principal.as_deref().unwrap_or_default();
            format!(
                "{} {} {about} {:?}",
                call.time, call.operation, call.outcome
            )
        })
        .collect()
    }

    /// Waits until an operation was called so often since the mark.
    pub(crate) async fn called(&self, operation: &str, times: usize, mark: Mark) {
        eventually(
            &format!("{times} calls of {operation}"),
            PATIENT,
            async || {
                let count = self.eks.log().count(operation, mark);
                if count >= times {
                    Ok(())
                } else {
                    Err(self.calls())
                }
            },
        )
        .await;
    }

    /// Waits until the entries have been listed anew from here on, and what that told has been dealt with.
    pub(crate) async fn listed(&self) {
        let mark = self.mark();
        // The second listing begins after everything that the first one told.
        self.called("ListAccessEntries", 4, mark).await;
    }

    /// The next calls of an operation go wrong in these ways.
    pub(crate) fn script(&self, operation: &str, faults: &[Fault]) {
        let mut knobs = self.eks.knobs();
        for fault in faults {
            knobs.script(operation, *fault);
        }
    }

    /// Makes a further mapping and waits until it is in effect: whatever came before has been dealt with by then.
    pub(crate) async fn fence(&self, name: &str) {
        eventually("the fence stands", SOON, async || {
            self.cluster
                .mappings()
                .get_opt(name)
                .await
                .unwrap()
                .is_none()
        })
        .await;
        self.establish(name, json!({})).await;
    }
}
