//! What stands in for AWS on the stage: EKS with this API server as its cluster, IAM, STS and a queue.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use identity_mapper::observed::CLUSTER_ANNOTATION;
use serde_json::Value;

use crate::place::OPERATOR_ROLE;
use crate::screen;
use crate::stage::{Stage, until};
use crate::support::eks::{
    AGENT, Call, Caller as Login, Eks, Entry, Mark, Mode, NodeKind, Service, World,
};
use crate::support::logins::exec_user;
use crate::support::power::{Caller, Witness};
use crate::support::rights::{NAMESPACE, SERVICE_ACCOUNT};
use crate::support::{Cluster, Logins};

/// The cluster in EKS.
const CLUSTER: &str = "arn:aws:eks:eu-west-1:111122223333:cluster/demo";
/// Its account.
pub(crate) const ACCOUNT: &str = "111122223333";
/// The user by which deployments are made.
const DEPLOYER: &str = "arn:aws:iam::111122223333:user/ci/deployer";
/// The path of the roles of permission sets.
pub(crate) const SSO: &str = "/aws-reserved/sso.amazonaws.com/eu-west-1/";
/// How long the switch of the mode takes; EKS itself takes some minutes.
const SWITCH: Duration = Duration::from_secs(1);

/// The pretended AWS, who watches what everyone may do in it, and by what people log in.
pub(crate) struct Amazon {
    pub(crate) eks: Eks,
    witness: Witness,
    logins: Logins,
}

impl Amazon {
    /// Starts the stand-in, with the principals that the steps name, and the authenticator.
    pub(crate) async fn start(cluster: &Cluster) -> Self {
        let mut world = World::new(CLUSTER)
            .mode(Mode::ConfigMap)
            .api_server(&cluster.authority(), cluster.url())
            .creator("arn:aws:iam::111122223333:role/ClusterCreator")
            .node_group("arn:aws:iam::111122223333:role/eks-node", NodeKind::Linux);
        for (path, name) in [
            ("/", "ClusterCreator"),
            ("/", "eks-node"),
            ("/", "BreakGlass"),
            ("/compliance/", "Auditor"),
            (SSO, "AWSReservedSSO_PlatformAdmins_0123456789abcdef"),
            (SSO, "AWSReservedSSO_DataTeam_2222222222222222"),
            // A permission set of its own, whose name begins in the same way.
            (SSO, "AWSReservedSSO_DataTeam_Leads_3333333333333333"),
        ] {
            world.role(ACCOUNT, path, name);
        }
        world.user(ACCOUNT, "/ci/", "deployer");
        world.attach_queue("identity-mapper");
        let operator = world.find(OPERATOR_ROLE).cloned();
        let operator = operator.expect("each world has the operator's role");
        world.trust_workload(NAMESPACE, SERVICE_ACCOUNT, &operator);
        let eks = Eks::start(world).await;
        eks.knobs().update = SWITCH;
        let witness = Witness::start(cluster, &eks, BTreeMap::new()).await;
        let logins = Logins::start(cluster, &eks).await;
        Self {
            eks,
            witness,
            logins,
        }
    }

    /// A session of the role of the platform admins.
    pub(crate) fn alice(&self) -> Login {
        let role = "AWSReservedSSO_PlatformAdmins_0123456789abcdef";
        self.eks.world().session(ACCOUNT, role, "alice")
    }

    /// A session of the role for emergencies, which has access from the beginning to the end.
    pub(crate) fn carol(&self) -> Login {
        self.eks.world().session(ACCOUNT, "BreakGlass", "carol")
    }

    /// Lets somebody who is watched lose what they have, as it was asked for.
    pub(crate) fn allow_loss(&self, name: &str) {
        self.witness.allow_loss(name);
    }

    /// The user by which deployments are made.
    pub(crate) fn deployer(&self) -> Result<Login> {
        let world = self.eks.world();
        let user = world.find(DEPLOYER).context("the user is in IAM")?;
        Ok(Login {
            arn: user.arn.clone(),
            account: ACCOUNT.to_owned(),
            user_id: user.id.clone(),
            token: None,
            expires: None,
        })
    }
}

impl Stage {
    /// Runs `kubectl auth whoami` as somebody who logs in, until they get in, and shows what it prints.
    pub(crate) async fn gets_in(&self, who: &str, caller: &Login, username: &str) -> Result<()> {
        let what = format!("{who} gets in");
        let printed = until(&what, async || match self.whoami(caller) {
            (true, printed) => Ok(printed),
            (false, words) => Err(format!("{words}\n{}", self.amazon.logins.log())),
        });
        let printed = printed.await?;
        screen::command(&format!(
            "kubectl --kubeconfig={who}.kubeconfig auth whoami"
        ));
        screen::output(&printed);
        ensure!(
            printed.contains(username),
            "{who} is not {username}: {printed}"
        );
        Ok(())
    }

    /// The same until they are refused.
    pub(crate) async fn is_kept_out(&self, who: &str, caller: &Login) -> Result<()> {
        let what = format!("{who} is refused");
        let words = until(&what, async || match self.whoami(caller) {
            (true, printed) => Err(printed),
            (false, words) => Ok(words),
        });
        let words = words.await?;
        screen::command(&format!(
            "kubectl --kubeconfig={who}.kubeconfig auth whoami"
        ));
        screen::sentence(&words);
        ensure!(
            words.contains("Unauthorized"),
            "{who} is refused for another reason: {words}"
        );
        Ok(())
    }

    /// Whether they get in, and what kubectl prints.
    fn whoami(&self, caller: &Login) -> (bool, String) {
        let file = self.person_kubeconfig(caller);
        let kubeconfig = format!("--kubeconfig={}", file.display());
        let output = self
            .cluster()
            .kubectl(&["auth", "whoami", &kubeconfig], None);
        let success = output.status.success();
        let shown = if success {
            output.stdout
        } else {
            output.stderr
        };
        (success, String::from_utf8_lossy(&shown).into_owned())
    }

    /// A file by which kubectl logs in as somebody.
    pub(crate) fn person_kubeconfig(&self, caller: &Login) -> PathBuf {
        let user = exec_user(&self.amazon.eks, caller);
        self.cluster().user_kubeconfig(&user)
    }

    /// Makes a call to EKS as a person at the console or the command line would, and shows it.
    pub(crate) fn aws(&self, words: &str, operation: &str, input: Value) -> Result<()> {
        screen::command(&format!("aws eks {words}"));
        let done = self.amazon.eks.by_hand(operation, input);
        done.map_err(|refusal| anyhow!("{operation}: {refusal:?}"))?;
        Ok(())
    }

    /// All access entries, as they stand.
    pub(crate) fn entries(&self) -> Entries {
        let world = self.amazon.eks.world();
        let entries = world.cluster.entries.values();
        entries
            .map(|entry| (entry.principal_arn.clone(), Entry::clone(entry)))
            .collect()
    }

    /// Waits until the access entries are as wanted, and shows how they differ from `before`.
    pub(crate) async fn entries_become(
        &self,
        before: &Entries,
        what: &str,
        wanted: impl Fn(&Entries) -> bool,
    ) -> Result<Entries> {
        let look = async || {
            let entries = self.entries();
            if wanted(&entries) {
                Ok(entries)
            } else {
                Err(text(&entries))
            }
        };
        let after = until(what, look).await?;
        screen::diff("in EKS, access entries", &text(before), &text(&after));
        Ok(after)
    }

    /// The calls to EKS of the operator since `mark` that changed something, in order.
    pub(crate) fn changes(&self, mark: Mark) -> Vec<Call> {
        let amazon = &self.amazon;
        let log = amazon.eks.log();
        let calls = log.since(mark).iter();
        let changes = calls.filter(|call| {
            let read = ["Describe", "List"];
            call.service == Service::Eks
                && !call.by_hand
                && call.operation != AGENT
                && call.had_effect()
                && !read.iter().any(|verb| call.operation.starts_with(verb))
        });
        changes.cloned().collect()
    }

    /// The end of the log of calls.
    pub(crate) fn calls(&self) -> Mark {
        self.amazon.eks.log().mark()
    }

    /// Watches that a session of this role never may do less than now.
    pub(crate) async fn keep(&self, name: &str, role: &str, session: &str) -> Result<()> {
        let amazon = &self.amazon;
        let role = amazon.eks.world().find(role).cloned();
        let role = role.with_context(|| format!("{name} has a role"))?;
        let caller = Caller::session(&role.arn, &role.id, session);
        let power = amazon.witness.keep(name, caller).await;
        ensure!(
            power.grants().next().is_some(),
            "{name} may do nothing to begin with"
        );
        Ok(())
    }

    /// Waits until the operator keeps this mode as the one that it read last.
    pub(crate) async fn mode_is(&self, mode: &str) -> Result<()> {
        let look = async || {
            let history = self.history().await.map_err(|error| error.to_string())?;
            let kept = history.unwrap_or_default();
            if kept.contains(&format!("{mode:?}")) {
                Ok(())
            } else {
                Err(format!("kept: {kept:?}"))
            }
        };
        until(&format!("the operator has read the mode {mode}"), look).await
    }

    async fn history(&self) -> Result<Option<String>> {
        let history = self.config_maps.get_opt("aws-auth-history").await?;
        let annotations = history.and_then(|history| history.metadata.annotations);
        Ok(annotations.and_then(|mut annotations| annotations.remove(CLUSTER_ANNOTATION)))
    }

    /// The unique id of a principal in IAM.
    pub(crate) fn principal(&self, arn: &str) -> Result<String> {
        let world = self.amazon.eks.world();
        let found = world.find(arn).map(|principal| principal.id.clone());
        found.with_context(|| format!("IAM has no {arn}"))
    }

    /// Deletes a principal and makes it again.
    pub(crate) fn recreate(&self, arn: &str) {
        self.amazon.eks.world().recreate_principal(arn);
    }

    /// What the operator asked of EKS, by operation.
    pub(crate) fn counts(&self) -> String {
        let amazon = &self.amazon;
        let log = amazon.eks.log();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let asked = |call: &&Call| call.service == Service::Eks && !call.by_hand;
        for call in log.all().iter().filter(asked) {
            *counts.entry(&call.operation).or_default() += 1;
        }
        let counts: Vec<String> = counts
            .into_iter()
            .map(|(operation, count)| format!("{count} {operation}"))
            .collect();
        counts.join(", ")
    }

    /// Tells how to look around in the pretended AWS.
    pub(crate) fn invite_to_aws(&self) {
        let exports = self.amazon.eks.env().into_iter();
        let exports: Vec<String> = exports
            .map(|(name, value)| format!("export {name}={value}"))
            .collect();
        screen::gap();
        screen::text("And with the AWS CLI, as the operator's role (no AWS account is involved):");
        screen::output(&format!(
            "{}\naws eks list-access-entries --cluster-name demo",
            exports.join("\n")
        ));
    }

    /// How often everyone who is watched was looked at. Fails with the story where anyone lost anything.
    pub(crate) async fn nobody_lost(&self) -> Result<u64> {
        let witness = &self.amazon.witness;
        let stories: Vec<String> = witness
            .losses()
            .await
            .into_iter()
            .map(|loss| loss.story)
            .collect();
        ensure!(stories.is_empty(), "{}", stories.join("\n"));
        Ok(witness.evaluations())
    }

    /// How long after what a person did by hand the operator's last change was made; both since `mark`.
    pub(crate) fn answered(&self, mark: Mark) -> Result<Duration> {
        let by_hand = {
            let log = self.amazon.eks.log();
            let found = log.since(mark).iter().find(|call| call.by_hand);
            found.context("no call was made by hand")?.time
        };
        let last = self.changes(mark).pop();
        let last = last.context("the operator changed nothing")?.time;
        Ok(Duration::try_from(last.duration_since(by_hand))?)
    }
}

/// Access entries by principal.
pub(crate) type Entries = BTreeMap<String, Entry>;

/// As a person would want to read them.
fn text(entries: &Entries) -> String {
    let mut text = String::new();
    for entry in entries.values() {
        let Entry {
            principal_arn,
            type_,
            username,
            groups,
            policies,
            ..
        } = entry;
        let _ = writeln!(text, "{principal_arn}");
        let _ = writeln!(
            text,
            "  {type_}, {username}, groups [{}]",
            groups.join(", ")
        );
        for (policy, association) in policies {
            let name = policy.rsplit('/').next().unwrap_or_default();
            let scope = association
                .namespaces
                .as_ref()
                .map_or("cluster".to_owned(), |names| names.join(", "));
            let _ = writeln!(text, "  {name} in {scope}");
        }
    }
    text
}

/// Calls as words, in order.
pub(crate) fn words(calls: &[Call]) -> String {
    let names: Vec<&str> = calls.iter().map(|call| call.operation.as_str()).collect();
    names.join(", ")
}
