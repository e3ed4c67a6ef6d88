//! Where a process dies again and again: a control plane behind the proxy, and for each life a new AWS and everything else as it was.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use identity_mapper::access_entry::BRIDGE_GROUP;
use identity_mapper::api::IdentityMapping;
use identity_mapper::plan::{HANDOVER_ANNOTATION, PING_ANNOTATION};
use jiff::SignedDuration;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use similar::TextDiff;

use crate::support::eks::{Eks, Entry, Gate, Mode, World};
use crate::support::mappings::{FOREIGN, condition, role};
use crate::support::operator::ELECTED;
use crate::support::power::{Caller, Power, Witness};
use crate::support::programs::operator_binary;
use crate::support::proxy::Proxy;
use crate::support::rights::NAMESPACE;
use crate::support::supervise::Supervised;
use crate::support::{Cluster, Operator, eventually};

const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/test";
const ACCOUNT: &str = "111122223333";
/// Who may be declared, each by the role of the name.
pub(super) const PEOPLE: [&str; 4] = ["ann", "ben", "cat", "root"];
/// For all that follows a crash: what a dead process had sent is certain half a minute after the start of the next one.
const LONG: Duration = Duration::from_mins(3);
/// Without an effect for so long, nothing is on its way.
const QUIET: Duration = Duration::from_millis(400);
/// The same where more may follow: what waits for `--propagation`, or for the next search of bindings.
pub(super) const VERY_QUIET: Duration = Duration::from_millis(2500);

/// What the operator and the commands that hand over are told.
pub(super) const PACE: [&str; 2] = ["--propagation=1s", "--listing-period=10s"];

/// How many operators run, and how they agree on who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replicas {
    /// One, which asks nobody.
    One,
    /// One, which holds the Lease.
    Elected,
    /// A leader, and a standby that takes over when the leader dies.
    Two,
}

/// A control plane, the proxies before it, and the ways through these.
pub(super) struct Site {
    pub(super) gate: Gate,
    /// `None`: it is not installed.
    operator: Option<PathBuf>,
    /// The way beside the gate.
    standby: Option<PathBuf>,
    person: PathBuf,
    _proxies: [Proxy; 2],
    pub(super) cluster: Cluster,
}

impl Site {
    /// With the operator's definition and rights, or without.
    pub(super) async fn new(installed: bool) -> Self {
        let cluster = if installed {
            Cluster::with_operator_rights().await
        } else {
            Cluster::start().await
        };
        let bindings = json!({"apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "team"},
                "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}],
            },
            bind("team", "team", "Group", "team"),
            bind("ops", "cluster-admin", "User", "system:serviceaccount:default:default"),
        ]});
        cluster.kubectl_ok(&["apply", "-f", "-"], Some(&bindings.to_string()));
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}});
        cluster.kubectl_ok(&["apply", "-f", "-"], Some(&account.to_string()));
        let gate = Gate::default();
        let proxies = [
            Proxy::start(&cluster, &gate).await,
            Proxy::start(&cluster, &gate.beside()).await,
        ];
        let person = cluster
            .service_account_kubeconfig("default", "default")
            .await;
        let [mut operator, mut standby] = [None, None];
        if installed {
            let kubeconfig = cluster.operator_kubeconfig().await;
            operator = Some(proxies[0].kubeconfig(&cluster, &kubeconfig));
            standby = Some(proxies[1].kubeconfig(&cluster, &kubeconfig));
        }
        Self {
            operator,
            standby,
            person: proxies[0].kubeconfig(&cluster, &person),
            gate,
            _proxies: proxies,
            cluster,
        }
    }

    /// Takes away what a life left behind.
    async fn clean(&self) {
        let mappings = self.cluster.mappings();
        let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        for mapping in self.mappings().await {
            let name = mapping.name_any();
            mappings
                .patch(&name, &PatchParams::default(), &free)
                .await
                .unwrap();
            // One that was being deleted is gone by now.
            let _ = mappings.delete(&name, &DeleteParams::default()).await;
        }
        for name in ["aws-auth", "aws-auth-history"] {
            let _ = self
                .cluster
                .config_maps()
                .delete(name, &DeleteParams::default())
                .await;
        }
        let bridge = "identity-mapper-bridge";
        let bindings = Api::<ClusterRoleBinding>::all(self.cluster.admin());
        let _ = bindings.delete(bridge, &DeleteParams::default()).await;
        let leases = self.leases();
        let _ = leases
            .delete("identity-mapper", &DeleteParams::default())
            .await;
        eventually("nothing is left", LONG, async || {
            self.mappings().await.is_empty()
        })
        .await;
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.cluster.admin(), NAMESPACE)
    }

    pub(super) async fn mappings(&self) -> Vec<IdentityMapping> {
        if self.operator.is_none() {
            return Vec::new();
        }
        let list = self.cluster.mappings().list(&ListParams::default()).await;
        list.expect("the administrator may").items
    }
}

fn bind(name: &str, role: &str, kind: &str, subject: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": subject}],
    })
}

/// One life of everything.
pub(super) struct Stage<'a> {
    pub(super) site: &'a Site,
    pub(super) eks: Eks,
    witness: Witness,
    replicas: Replicas,
    operator: RefCell<Option<Operator>>,
    standby: RefCell<Option<Operator>>,
    args: Vec<String>,
    /// The access key of the person who runs commands.
    key: String,
}

impl<'a> Stage<'a> {
    /// A cluster in this mode, with this `mapRoles` where there is an aws-auth.
    pub(super) async fn set(
        site: &'a Site,
        mode: Mode,
        roles: Option<&str>,
        replicas: Replicas,
    ) -> Self {
        site.gate.open();
        site.gate.arm(None);
        site.clean().await;
        let cluster = &site.cluster;
        let mut world = World::new(CLUSTER)
            .mode(mode)
            .api_server(&cluster.authority(), cluster.url());
        for name in PEOPLE.into_iter().chain(["nodes", "Creator"]) {
            world.role(ACCOUNT, "/", name);
        }
        world.cluster.creator = Some(role("Creator"));
        world.attach_queue("changes");
        let person = world.person("pat");
        let key = world.key_of(person);
        let eks = Eks::start(world).await;
        eks.guard(&site.gate);
        if let Some(roles) = roles {
            cluster.seed(json!({"mapRoles": roles})).await;
        }
        let witness = Witness::start(cluster, &eks, BTreeMap::new()).await;
        let queue = format!("--queue-url={}", eks.queue_url());
        let soak = "--soak=60s".to_owned();
        let args = PACE.map(str::to_owned).into_iter().chain([soak, queue]);
        let elected = ELECTED.iter().filter(|_| replicas != Replicas::One);
        let args = args.chain(elected.map(|&arg| arg.to_owned()));
        Self {
            site,
            eks,
            witness,
            replicas,
            operator: RefCell::default(),
            standby: RefCell::default(),
            args: args.collect(),
            key,
        }
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.site.cluster
    }

    /// Starts the operator, and its standby where it has one, and waits until they are ready or dead.
    pub(super) async fn start(&self) {
        let site = self.site;
        let leader = async {
            tokio::select! {
                operator = self.process(site.operator.as_deref()) => *self.operator.borrow_mut() = Some(operator),
                () = site.gate.closed() => {}
            }
        };
        let standby = async {
            if self.replicas == Replicas::Two {
                eventually("the first one leads", LONG, async || {
                    let lease = site.leases().get_opt("identity-mapper").await.unwrap();
                    let holder = lease.and_then(|it| it.spec?.holder_identity);
                    holder.is_some_and(|it| !it.is_empty())
                })
                .await;
                let standby = self.process(site.standby.as_deref()).await;
                *self.standby.borrow_mut() = Some(standby);
            }
        };
        futures::join!(leader, standby);
    }

    async fn process(&self, kubeconfig: Option<&Path>) -> Operator {
        let kubeconfig = kubeconfig.expect("it is installed");
        let way = [("KUBECONFIG".into(), kubeconfig.into())];
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        Operator::start_by(self.cluster(), &self.eks, &operator_binary(), &way, &args).await
    }

    /// What comes after the operator: its standby leads, or it is started again.
    pub(super) async fn succeed(&self) {
        if self.replicas != Replicas::Two {
            return self.start().await;
        }
        let standby = eventually("there is a standby", LONG, async || {
            self.standby.borrow_mut().take()
        });
        let standby = standby.await;
        eventually("the standby leads", LONG, async || {
            let metrics = standby.metrics().await;
            let leads = Operator::metric(&metrics, "identity_mapper_leader", &[]) == Some(1.0);
            if leads { Ok(()) } else { Err(standby.log()) }
        })
        .await;
        *self.operator.borrow_mut() = Some(standby);
    }

    /// Ends the operator at once.
    pub(super) fn kill(&self) {
        self.operator.borrow_mut().take();
    }

    /// Ends the operator as a kubelet does, its standby first.
    pub(super) async fn stop(&self) {
        for replica in [&self.standby, &self.operator] {
            let operator = replica.borrow_mut().take();
            if let Some(operator) = operator {
                assert!(operator.stop().await.0.success());
            }
        }
    }

    /// Ends the operator as a kubelet does and starts the next one, unless it dies on its way: then whoever sees that does.
    pub(super) async fn renew(&self) {
        // One that has just died may not have been started again.
        let asked = eventually("an operator runs", LONG, async || {
            let mut operator = self.operator.borrow_mut();
            operator.as_mut().map(|it| {
                it.signal("TERM");
                it.pid()
            })
        });
        let asked = asked.await;
        let ended = eventually("the operator ends", LONG, async || {
            let mut operator = self.operator.borrow_mut();
            let operator = operator.as_mut().filter(|it| it.pid() == asked);
            operator.and_then(Operator::exited)
        });
        tokio::select! {
            status = ended => {
                assert!(status.success());
                self.start().await;
            }
            () = self.site.gate.closed() => {}
        }
    }

    /// Runs a command to its end; where it dies on its way, again. An operator that runs beside it dies with it.
    pub(super) async fn command(&self, args: &[&str]) {
        loop {
            let scratch = self.cluster().scratch();
            let log = format!("command-{}.log", self.cluster().next_file());
            let aws = self.eks.env_as(&self.key).into_iter();
            let aws = aws.map(|(name, value)| (OsString::from(name), OsString::from(value)));
            let further = [
                ("KUBECONFIG".into(), self.site.person.clone().into()),
                ("HOME".into(), scratch.path().into()),
            ];
            let mut process = Supervised::spawn(
                &operator_binary(),
                args,
                aws.chain(further),
                &scratch.path().join(log),
            );
            let ended = eventually("the command ends", LONG, async || {
                process.exited().ok_or(())
            });
            tokio::select! {
                status = ended => {
                    assert!(status.success(), "{args:?}: {}", process.log());
                    return;
                }
                () = self.site.gate.closed() => {}
            }
            drop(process);
            let operated = self.operator.borrow_mut().take().is_some();
            self.site.gate.open();
            if operated {
                self.start().await;
            }
        }
    }

    /// Has nobody of these be without what they may do now, from here on.
    pub(super) async fn keep(&self, names: &[&str]) {
        for name in names {
            let session = self.eks.world().session(ACCOUNT, name, "x");
            let id = session.user_id.split(':').next().unwrap_or_default();
            let caller = Caller::session(&role(name), id, "x");
            let power = self.witness.keep(name, caller).await;
            assert!(
                *name == "nodes" || power != Power::default(),
                "{name} may do nothing"
            );
        }
    }

    pub(super) async fn acquit(&self) {
        self.witness.acquit(&self.eks).await;
    }

    /// Waits until nothing had an effect for so long.
    pub(super) async fn quiet(&self, time: Duration) {
        let (mut count, mut since) = (0, Instant::now());
        eventually("nothing more has an effect", LONG, async || {
            let mut effects = self.site.gate.effects();
            // Whoever leads renews the Lease for ever.
            effects.retain(|it| !it.contains(" leases"));
            if effects.len() != count {
                (count, since) = (effects.len(), Instant::now());
            }
            (since.elapsed() >= time).then_some(()).ok_or(effects)
        })
        .await;
    }

    /// The operator makes these mappings, and is done.
    pub(super) async fn established(&self, mappings: &[(&str, Value)]) {
        for (name, spec) in mappings {
            self.cluster().declare(name, spec.clone()).await;
        }
        for (name, _) in mappings {
            self.cluster().ready(name).await;
        }
        self.quiet(QUIET).await;
    }

    /// A person asks for a handover, or for the way back.
    pub(super) async fn hand_over(&self, word: &str) {
        self.annotate(HANDOVER_ANNOTATION, word).await;
    }

    /// Sets an annotation of the history by hand.
    pub(super) async fn annotate(&self, name: &str, value: &str) {
        let patch = json!({"metadata": {"annotations": {name: value}}});
        let maps = self.cluster().config_maps();
        let params = PatchParams::default();
        maps.patch("aws-auth-history", &params, &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// Waits until the operator has taken off the question whether it works.
    pub(super) async fn answered(&self) {
        eventually("an answer", LONG, async || {
            let maps = self.cluster().config_maps();
            let history = maps.get("aws-auth-history").await.unwrap();
            !history.annotations().contains_key(PING_ANNOTATION)
        })
        .await;
    }

    pub(super) fn bridge(&self) {
        let bridge = bind(
            "identity-mapper-bridge",
            "cluster-admin",
            "Group",
            BRIDGE_GROUP,
        );
        let args = ["apply", "-f", "-"];
        self.cluster().kubectl_ok(&args, Some(&bridge.to_string()));
    }

    /// Waits until an access entry is as expected.
    pub(super) async fn entry(&self, name: &str, wanted: impl Fn(Option<&Entry>) -> bool) {
        eventually(&format!("the access entry of {name}"), LONG, async || {
            let world = self.eks.world();
            let entry = world.cluster.entries.get(&role(name));
            if wanted(entry.map(Arc::as_ref)) {
                Ok(())
            } else {
                Err(entry.cloned())
            }
        })
        .await;
    }

    /// The id of a role in IAM.
    pub(super) fn id(&self, name: &str) -> String {
        let world = self.eks.world();
        world.find(&role(name)).expect("it exists").id.clone()
    }

    /// A role is deleted and made again, and its mapping tells of it. Before, its id was kept with the entry.
    pub(super) async fn recreate(&self, name: &str) {
        self.entry(name, |entry| {
            entry.is_some_and(|it| it.tags.contains_key("identity-mapper.dev/principal-id"))
        })
        .await;
        self.eks.world().recreate_principal(&role(name));
        self.until(name, "Ready", "False PrincipalRecreated").await;
        self.quiet(VERY_QUIET).await;
    }

    /// Waits until `mapRoles` has an entry for this role, or none.
    pub(super) async fn text_with(&self, name: &str, expected: bool) {
        eventually("aws-auth is as expected", LONG, async || {
            let text = self.cluster().roles().await;
            if text.contains(&role(name)) == expected {
                Ok(())
            } else {
                Err(text)
            }
        })
        .await;
    }

    /// Waits until a condition has this status and reason for the present spec, however long a dead process's calls stay uncertain.
    pub(super) async fn until(&self, name: &str, type_: &str, expected: &str) {
        eventually(&format!("{type_} of {name}"), LONG, async || {
            let object = self.cluster().mappings().get(name).await.unwrap();
            let status = object.status.as_ref();
            let current =
                status.and_then(|it| it.observed_generation) == object.metadata.generation;
            let seen = condition(&object, type_).filter(|_| current);
            if seen.is_some_and(|seen| seen.to_string() == expected) {
                Ok(())
            } else {
                Err(json!(object.status))
            }
        })
        .await;
    }

    pub(super) async fn until_ready(&self, name: &str) {
        self.until(name, "Ready", "True InEffect").await;
    }

    pub(super) async fn until_gone(&self, name: &str) {
        eventually(&format!("{name} is gone"), LONG, async || {
            let object = self.cluster().mappings().get_opt(name).await.unwrap();
            object.map_or(Ok(()), |object| Err(json!(object.status)))
        })
        .await;
    }

    /// Two hours pass for the access entries and for the principals that they are for, and for nothing else.
    pub(super) fn age(&self) {
        self.eks.world().age(SignedDuration::from_hours(2));
    }

    /// Waits until everything is as it was at the end of a life without a crash.
    pub(super) async fn comes_to(&self, expected: &str) {
        eventually("the same end", LONG, async || {
            let state = self.state().await;
            if state == expected {
                return Ok(());
            }
            let diff = TextDiff::from_lines(expected, &state);
            let log = self.operator.borrow().as_ref().map(Operator::log);
            let text = diff.unified_diff().header("expected", "found").to_string();
            Err(Story(text, log.unwrap_or_default()))
        })
        .await;
    }
}

/// A difference, and the operator's log.
struct Story(String, String);

impl Debug for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n{}", self.0, self.1)
    }
}

/// What stands in aws-auth before, with a further entry that somebody wrote for a role.
pub(super) fn with_entry(name: &str, groups: &Value) -> String {
    let entry = json!({"rolearn": role(name), "username": name, "groups": groups});
    format!("{FOREIGN}- {entry}\n")
}
