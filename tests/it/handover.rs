//! From aws-auth to access entries, all the way and back, with the real operator: nobody is ever without the power that they
//! had, also where the operator is killed again and again on the way.

pub(crate) mod cast;
mod visitors;

use std::collections::BTreeSet;
use std::time::Duration;

use identity_mapper::access_entry::BRIDGE_GROUP;
use identity_mapper::aws_auth::Document;
use identity_mapper::observed::Mode as Declared;
use identity_mapper::plan::HANDOVER_ANNOTATION;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use self::cast::{Cast, Course, Part, cast, in_effect};
use self::visitors::Visitors;
use crate::support::eks::{Change, Eks, Mode, Random, World};
use crate::support::mappings::{FOREIGN, condition};
use crate::support::power::Witness;
use crate::support::{Cluster, Operator, eventually, fleet};

const ARN: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/test";
/// For what takes a pass over two hundred mappings, on a machine that is busy with other things. An operator that is killed every few
/// seconds spends most of them on its start there.
const LONG: Duration = fleet::LONG;
/// How long an entry of aws-auth stays beside its access entry: the least that can be asked for.
const SOAK: &str = "--soak=60s";
/// From a change of an entry to its force.
const ENTRY_DELAY: Duration = Duration::from_millis(700);
/// From the association of a policy to its force.
const POLICY_DELAY: Duration = Duration::from_millis(1500);
/// What the operator is told of that.
const PROPAGATION: &str = "--propagation=2s";

fn aws(cluster: &Cluster, mode: Mode) -> World {
    World::new(ARN)
        .mode(mode)
        .api_server(&cluster.authority(), cluster.url())
}

/// A cluster before it moves on, everyone in it, and who watches them.
struct Stage {
    cluster: Cluster,
    eks: Eks,
    cast: Cast,
    witness: Witness,
    visitors: Option<Visitors>,
    args: Vec<String>,
}

impl Stage {
    /// With only every `nth` of the mappings; where it is `visited`, some of those people log in all the time.
    async fn set(nth: usize, visited: bool) -> Self {
        let cluster = if visited {
            Cluster::with_logins().await
        } else {
            Cluster::with_operator_rights().await
        };
        let mut world = aws(&cluster, Mode::ConfigMap);
        let mut cast = cast(&mut world);
        cast.parts = cast.parts.into_iter().step_by(nth).collect();
        world.instances.clone_from(&cast.instances);
        world.attach_queue("changes");
        let eks = Eks::start(world).await;
        {
            let mut knobs = eks.knobs();
            knobs.entry_delay = ENTRY_DELAY;
            knobs.policy_delay = POLICY_DELAY;
            knobs.update = Duration::from_secs(1);
            knobs.mode_error = Duration::from_secs(1);
        }
        let accounts = "- \"777788889999\"\n";
        cluster
            .seed(json!({"mapRoles": cast.roles, "mapUsers": cast.users, "mapAccounts": accounts}))
            .await;
        let bindings = cast::bindings().to_string();
        cluster.kubectl_ok(&["apply", "-f", "-"], Some(&bindings));
        let mappings = cast.parts.iter().map(|part| {
            let object = json!({
                "apiVersion": "identity-mapper.dev/v1alpha1", "kind": "IdentityMapping",
                "metadata": {"name": part.name}, "spec": part.spec,
            });
            serde_json::from_value(object).expect("a mapping")
        });
        fleet::create_all(&cluster.admin(), mappings).await;
        let witness = Witness::start(&cluster, &eks, cast.instances.clone()).await;
        let visitors = if visited {
            Some(Visitors::of(&cast, &cluster, &eks).await)
        } else {
            None
        };
        let args = [
            SOAK.to_owned(),
            PROPAGATION.to_owned(),
            "--eks-rate=200".to_owned(),
            // No twin goes before IAM has been listed after its soak.
            "--listing-period=10s".to_owned(),
            format!("--queue-url={}", eks.queue_url()),
        ];
        Self {
            cluster,
            eks,
            cast,
            witness,
            visitors,
            args: args.into(),
        }
    }

    async fn operator(&self) -> Operator {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        Operator::start_in(&self.cluster, &self.eks, &args).await
    }

    /// Waits until each mapping is ready that can be in this mode, and each other one says that it is not.
    async fn settled(&self, mode: Declared, what: &str) {
        eventually(what, LONG, async || {
            let mappings = fleet::list(&self.cluster.admin()).await;
            let ready = |part: &Part| {
                let mapping = mappings.iter().find(|it| it.name_any() == part.name);
                fleet::ready(mapping.expect("nobody deletes it"))
            };
            let wrong: Vec<String> = self
                .cast
                .parts
                .iter()
                .filter(|part| (ready(part) == "True InEffect") != in_effect(part.course, mode))
                .map(|part| {
                    let mapping = mappings.iter().find(|it| it.name_any() == part.name);
                    let seen = mapping.and_then(|mapping| condition(mapping, "Ready"));
                    format!("{} {:?}: {seen:?}", part.name, part.course)
                })
                .collect();
            if wrong.is_empty() {
                return Ok(());
            }
            // To list two hundred again and again would keep the API server from what is waited for.
            tokio::time::sleep(Duration::from_millis(200)).await;
            Err(wrong)
        })
        .await;
    }

    /// The names of roles and users in aws-auth.
    async fn in_text(&self) -> BTreeSet<String> {
        let object = self.cluster.config_maps().get("aws-auth").await.unwrap();
        let document = Document::parse(&object.data.unwrap());
        let name = |arn: &str| arn.rsplit('/').next().unwrap_or_default().to_owned();
        document.entries().map(|entry| name(&entry.arn)).collect()
    }

    async fn switch(&self, mode: Mode) {
        let switch = self.switch_alone(mode);
        match &self.visitors {
            Some(visitors) => visitors.through(&self.eks, mode, switch).await,
            None => switch.await,
        }
    }

    async fn switch_alone(&self, mode: Mode) {
        let config = json!({"accessConfig": {"authenticationMode": mode.as_str()}});
        self.eks.by_hand("UpdateClusterConfig", config).unwrap();
        eventually("the mode is switched", LONG, async || {
            self.eks.world().cluster.mode == mode
        })
        .await;
    }

    /// A person asks for the handover, in the cluster.
    async fn hand_over(&self) {
        let patch = json!({"metadata": {"annotations": {HANDOVER_ANNOTATION: "Auto"}}});
        let maps = self.cluster.config_maps();
        maps.patch(
            "aws-auth-history",
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await
        .unwrap();
    }

    fn moving(&self) -> impl Iterator<Item = &Part> {
        self.cast
            .parts
            .iter()
            .filter(|part| part.course == Course::Moves)
    }

    /// Waits until each has an access entry as it is to be in the end who can have one, and nobody else.
    async fn entries_arrived(&self) {
        eventually("everyone has an access entry", LONG, async || {
            let world = self.eks.world();
            let entries = &world.cluster.entries;
            let wrong: Vec<_> = self
                .cast
                .parts
                .iter()
                .filter_map(|part| {
                    let entry = entries.get(&part.principal.arn);
                    let as_wanted = match part.course {
                        Course::Stays => entry.is_none(),
                        _ => entry.is_some_and(|entry| part.is_arrived(entry)),
                    };
                    (!as_wanted).then(|| (part.name.clone(), part.spec.to_string(), entry.cloned()))
                })
                .collect();
            if wrong.is_empty() { Ok(()) } else { Err(wrong) }
        })
        .await;
    }

    /// The whole way, as the people of the cluster go it.
    async fn cross(&self) {
        self.settled(Declared::ConfigMap, "all are in aws-auth")
            .await;
        for part in &self.cast.parts {
            let power = self.witness.keep(&part.name, part.caller.clone()).await;
            assert_eq!(
                power.is_everything(),
                part.masters || is_platform(part),
                "{part:?}"
            );
            if let Some(visitors) = &self.visitors {
                visitors.expect(&part.name, &power);
            }
        }
        for (name, caller, _) in &self.cast.foreign {
            self.witness.keep(name, caller.clone()).await;
        }

        self.switch(Mode::ApiAndConfigMap).await;
        self.settled(
            Declared::ApiAndConfigMap,
            "the new mode changes nothing for those in aws-auth",
        )
        .await;
        self.bridge(true).await;
        self.hand_over().await;
        self.entries_arrived().await;
        eventually("the twins go when they have soaked", LONG, async || {
            let standing = self.in_text().await;
            let moving = self.moving().map(|part| &part.principal.name);
            let left: Vec<_> = moving.filter(|name| standing.contains(*name)).collect();
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{} of them: {left:?}", left.len()))
            }
        })
        .await;
        self.settled(
            Declared::ApiAndConfigMap,
            "all are in effect after the handover",
        )
        .await;
        let standing = self.in_text().await;
        for part in &self.cast.parts {
            let stays = matches!(part.course, Course::Doubles | Course::Stays);
            assert_eq!(standing.contains(&part.principal.name), stays, "{part:?}");
        }

        self.there_and_back().await;
        self.bridge(false).await;

        // Whom only aws-auth knows is not let in any more.
        for (name, _, by_eks) in &self.cast.foreign {
            if !by_eks {
                self.witness.allow_loss(name);
            }
        }
        for part in &self.cast.parts {
            if part.course == Course::Stays {
                self.witness.allow_loss(&part.name);
            }
        }
        let text = self.cluster.roles().await;
        self.switch(Mode::Api).await;
        self.settled(Declared::Api, "all are in effect without aws-auth")
            .await;
        assert_eq!(self.cluster.roles().await, text, "aws-auth is left alone");
    }

    /// Some go back to aws-auth, and return.
    async fn there_and_back(&self) {
        let some: Vec<&Part> = self.moving().step_by(self.moving().count() / 12).collect();
        let masters = some.iter().filter(|part| part.masters).count();
        assert!(
            some.len() > 10 && masters > 1,
            "{} of them, {masters} by masters",
            some.len()
        );
        let ask = async |backend: &str| {
            for part in &some {
                let patch = json!({"spec": {"backend": backend}});
                self.cluster.change(&part.name, patch).await;
            }
        };
        ask("ConfigMap").await;
        eventually("they are back in aws-auth alone", LONG, async || {
            let standing = self.in_text().await;
            let world = self.eks.world();
            let wrong: Vec<_> = some
                .iter()
                .filter(|part| {
                    let entry = world.cluster.entries.contains_key(&part.principal.arn);
                    entry || !standing.contains(&part.principal.name)
                })
                .map(|part| &part.name)
                .collect();
            if wrong.is_empty() {
                Ok(())
            } else {
                Err(format!("{wrong:?}"))
            }
        })
        .await;
        self.settled(
            Declared::ApiAndConfigMap,
            "all are in effect after the way back",
        )
        .await;
        ask("AccessEntry").await;
        self.entries_arrived().await;
    }

    async fn bridge(&self, stands: bool) {
        let bindings = Api::<ClusterRoleBinding>::all(self.cluster.admin());
        if stands {
            let binding = bridge();
            let binding = serde_json::from_value(binding).unwrap();
            bindings
                .create(&PostParams::default(), &binding)
                .await
                .unwrap();
        } else {
            bindings
                .delete("identity-mapper-bridge", &DeleteParams::default())
                .await
                .unwrap();
        }
    }

    /// What must be so in the end, however it was reached.
    async fn judge(&self) {
        self.entries_arrived().await;
        // What was done last comes into force, too.
        self.eks.advance(POLICY_DELAY);
        self.witness.acquit(&self.eks).await;
        let text = self.cluster.text("mapRoles").await;
        for line in self
            .cast
            .roles
            .lines()
            .filter(|line| line.contains("by hand") || line.contains("do not touch"))
        {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
        assert_eq!(
            self.cluster.text("mapAccounts").await,
            "- \"777788889999\"\n"
        );
        // EKS's own entries are as EKS made them.
        let world = self.eks.world();
        let own = ["eks-linux", "eks-windows", "eks-fargate", "Creator"];
        for name in own {
            let entry =
                &world.cluster.entries[&format!("arn:aws:iam::{}:role/{name}", cast::ACCOUNT)];
            assert!(
                entry.tags.is_empty() && entry.created == entry.modified,
                "{entry:?}"
            );
        }
        let log = self.eks.log();
        let deleted = log
            .all()
            .iter()
            .filter(|call| call.operation == "DeleteAccessEntry");
        let kept: Vec<_> = deleted
            .filter(|call| {
                own.iter().any(|name| {
                    call.principal
                        .as_deref()
                        .is_some_and(|arn| arn.ends_with(name))
                })
            })
            .collect();
        assert!(kept.is_empty(), "{kept:?}");
    }

    /// Returns when so much has changed in EKS, or after this time.
    async fn changed(&self, times: u32, at_most: Duration) {
        let mut changes = self.eks.subscribe();
        let all = async {
            let mut left = times;
            while left > 0 {
                // One that lagged behind has missed some, so there were enough.
                let Ok(change) = changes.recv().await else {
                    return;
                };
                left -= u32::from(matches!(change, Change::Described(_)));
            }
        };
        // Either is a good moment to be killed.
        let _ = tokio::time::timeout(at_most, all).await;
    }
}

fn is_platform(part: &Part) -> bool {
    part.spec["groups"] == json!(["platform-admins"])
}

fn bridge() -> Value {
    json!({
        "metadata": {"name": "identity-mapper-bridge"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": BRIDGE_GROUP}],
    })
}

/// The whole way from `CONFIG_MAP` to `API`, with two hundred mappings: nobody is ever without the power that they had, and nobody is
/// refused of those who log in all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_principal_loses_permissions_from_aws_auth_to_access_entries() {
    let stage = Stage::set(1, true).await;
    let operator = stage.operator().await;
    let visitors = stage.visitors.as_ref().unwrap();
    tokio::select! {
        () = stage.cross() => {}
        () = visitors.come(&stage.eks) => {}
    }
    visitors.acquit();
    stage.judge().await;
    let (status, _) = operator.stop().await;
    assert!(status.success());
}

/// The same where EKS takes half a second to three for each answer, and makes the change at any time of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_while_eks_is_slow() {
    let stage = Stage::set(7, false).await;
    stage.eks.knobs().slow = Some((Duration::from_millis(500), Duration::from_secs(3)));
    let operator = stage.operator().await;
    stage.cross().await;
    stage.judge().await;
    let (status, _) = operator.stop().await;
    assert!(status.success());
}

/// The same while the operator is killed after every few changes, and started at once again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_where_the_operator_is_killed_at_any_point_of_it() {
    const SEED: u64 = 20_261_125;
    let stage = Stage::set(1, false).await;
    let mut random = Random::new(SEED);
    let mut kills = 0_u32;
    let crashing = async {
        loop {
            // What an earlier process may have left on its way is certain half a minute after the start: some live to see it.
            let (times, at_least) = if kills % 6 == 5 {
                (u32::MAX, 40_000)
            } else {
                (1 + random.below(25), 3000)
            };
            let at_most = Duration::from_millis(u64::from(at_least + random.below(9000)));
            let life = async {
                let _operator = stage.operator().await;
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = life => {}
                () = stage.changed(times, at_most) => {}
            }
            kills += 1;
        }
    };
    tokio::select! {
        () = stage.cross() => {}
        () = crashing => {}
    }
    assert!(kills > 10, "killed {kills} times with seed {SEED}");
    let operator = stage.operator().await;
    stage
        .settled(Declared::Api, "all are in effect in the end")
        .await;
    stage.judge().await;
    operator.stop().await;
}

/// A mapping whose power comes from system:masters stays in aws-auth where no bridge stands, and says so; a bridge that is
/// left behind is told of by an event.
#[tokio::test]
async fn administrators_wait_for_a_bridge_and_one_left_behind_is_reported() {
    let cluster = Cluster::seeded().await;
    let mut world = aws(&cluster, Mode::ApiAndConfigMap);
    let role = |world: &mut World, name: &str| world.role(cast::ACCOUNT, "/", name);
    let (admin, person) = (role(&mut world, "admin"), role(&mut world, "person"));
    let eks = Eks::start(world).await;
    let text = json!([
        {"rolearn": admin.arn, "username": "admin", "groups": ["system:masters"]},
        {"rolearn": person.arn, "username": "person", "groups": ["team"]},
    ]);
    cluster
        .write_text("kubectl", "mapRoles", &format!("{FOREIGN}{}", lines(&text)))
        .await;
    let operator =
        Operator::start_in(&cluster, &eks, &["--handover=Auto", SOAK, PROPAGATION]).await;
    cluster
        .declare(
            "admin",
            json!({"username": "admin", "groups": ["system:masters"]}),
        )
        .await;
    cluster
        .declare("person", json!({"username": "person"}))
        .await;
    eventually("the person is handed over", LONG, async || {
        eks.world().cluster.entries.contains_key(&person.arn)
    })
    .await;
    let blocked = cluster
        .until("admin", "Synced", "False HandoverBlocked")
        .await;
    assert!(
        blocked.message.contains(BRIDGE_GROUP),
        "{}",
        blocked.message
    );
    cluster.until("admin", "Ready", "True InEffect").await;
    assert!(!eks.world().cluster.entries.contains_key(&admin.arn));

    let witness = Witness::start(&cluster, &eks, [].into()).await;
    let caller = crate::support::power::Caller::session(&admin.arn, &admin.id, "root");
    assert!(witness.keep("admin", caller).await.is_everything());
    let bindings = Api::<ClusterRoleBinding>::all(cluster.admin());
    let binding = serde_json::from_value(bridge()).unwrap();
    bindings
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
    eventually("the administrator is handed over", LONG, async || {
        let world = eks.world();
        let entry = world.cluster.entries.get(&admin.arn);
        entry.is_some_and(|entry| entry.groups.is_empty() && entry.policies.len() == 1)
    })
    .await;
    witness.acquit(&eks).await;
    let note = cluster.note("TemporaryBindingLeft", "aws-auth").await;
    assert!(note.contains(BRIDGE_GROUP), "{note}");
    operator.stop().await;
}

/// A list of aws-auth, an entry on each line.
fn lines(entries: &Value) -> String {
    let entries = entries.as_array().expect("a list").iter();
    let lines: Vec<String> = entries.map(|entry| format!("- {entry}\n")).collect();
    lines.concat()
}
