//! The cluster that the demo plays on: what is done to it, and what can be seen of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use identity_mapper::api::IdentityMapping;
use identity_mapper::api::condition::{ConditionType, Reason};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;

use crate::amazon::Amazon;
use crate::place::Place;
use crate::screen::{self, spoken};
use crate::support::audit::Requests;
use crate::support::programs::operator_binary;
use crate::support::{Audit, Cluster, Mark};

/// What the operator does, it does within milliseconds; a busy machine is given time.
const DEADLINE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);

/// The `data` of aws-auth.
pub(crate) type Data = BTreeMap<String, String>;

pub(crate) struct Stage {
    pub(crate) audit: Audit,
    pub(crate) amazon: Amazon,
    pub(crate) config_maps: Api<ConfigMap>,
    mappings: Api<IdentityMapping>,
    events: Api<Event>,
    shown: BTreeSet<String>,
    place: Place,
}

impl Stage {
    /// A new cluster.
    pub(crate) async fn set() -> Self {
        let started = Instant::now();
        let place = Place::set().await;
        screen::text(&format!(
            "It was ready after {}, {}.",
            spoken(started.elapsed()),
            place.furniture()
        ));
        let cluster = place.cluster();
        let admin = cluster.admin();
        Self {
            amazon: Amazon::start(cluster).await,
            audit: cluster.audit(),
            config_maps: Api::namespaced(admin.clone(), "kube-system"),
            mappings: Api::all(admin.clone()),
            events: Api::all(admin),
            shown: BTreeSet::new(),
            place,
        }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        self.place.cluster()
    }

    /// Starts the operator, and waits until it has made its first pass.
    pub(crate) async fn start_operator(&mut self) -> Result<()> {
        self.place.start().await
    }

    /// Starts the operator anew for the cluster of the stand-in, and waits until it has made its first pass.
    pub(crate) async fn restart_with_eks(&mut self) -> Result<()> {
        self.place.restart_with_eks(&self.amazon.eks).await
    }

    /// Runs kubectl as shown, and shows what it prints. Fails where it fails.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Result<()> {
        screen::command(&format!("kubectl {}", args.join(" ")));
        let output = self.cluster().kubectl(args, None);
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "kubectl {}: {error}",
            args.join(" ")
        );
        screen::output(&String::from_utf8_lossy(&output.stdout));
        Ok(())
    }

    /// Runs kubectl, which should be refused: shows and returns the API server's words.
    pub(crate) fn kubectl_refused(&self, args: &[&str]) -> Result<String> {
        screen::command(&format!("kubectl {}", args.join(" ")));
        let output = self.cluster().kubectl(args, None);
        ensure!(
            !output.status.success(),
            "kubectl {} was not refused",
            args.join(" ")
        );
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        screen::sentence(&words);
        Ok(words)
    }

    /// Shows a manifest of the demo and applies it.
    pub(crate) fn apply(&self, name: &str) -> Result<()> {
        let file = manifest(name);
        screen::file(&file, &read(name)?);
        self.kubectl(&["apply", "-f", &file])
    }

    /// Runs the program as a person does, on this cluster without AWS, and shows what it prints. Fails where it ends with another exit
    /// code than `expected`.
    pub(crate) fn identity_mapper(&self, args: &[&str], expected: i32) -> Result<()> {
        screen::command(&format!("identity-mapper {}", args.join(" ")));
        let shown = self.run(args, expected)?;
        screen::output(shown.trim_end());
        Ok(())
    }

    /// The same into a file, whose name is shown.
    pub(crate) fn identity_mapper_to(&self, args: &[&str], file: &str) -> Result<()> {
        screen::command(&format!("identity-mapper {} > {file}", args.join(" ")));
        let written = self.run(args, 0)?;
        fs::write(file, written).with_context(|| format!("{file} can't be written"))?;
        Ok(())
    }

    fn run(&self, args: &[&str], expected: i32) -> Result<String> {
        let output = Command::new(operator_binary())
            .args(args)
            .env("KUBECONFIG", self.cluster().admin_kubeconfig())
            .env("COLUMNS", "100")
            .output()
            .context("the program does not start")?;
        ensure!(
            output.status.code() == Some(expected),
            "identity-mapper {}: {}{}",
            args.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs kubectl without showing it, with this input. Returns what it printed.
    pub(crate) fn quietly(&self, args: &[&str], input: &str) -> Result<String> {
        let output = self.cluster().kubectl(args, Some(input));
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "kubectl {}: {error}",
            args.join(" ")
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Writes a text into aws-auth as another program would, and shows that program's work as a diff.
    pub(crate) async fn overwrite(&self, who: &str, changes: &[(&str, String)]) -> Result<()> {
        let before = self.aws_auth().await?;
        let data: BTreeMap<&str, &String> =
            changes.iter().map(|(key, text)| (*key, text)).collect();
        let patch = serde_json::json!({ "data": data }).to_string();
        let manager = format!("--field-manager={who}");
        let patch = [
            "patch",
            "configmap",
            "aws-auth",
            "-n",
            "kube-system",
            &manager,
            "--type=merge",
            "-p",
            &patch,
        ];
        self.quietly(&patch, "")?;
        for (key, text) in changes {
            let before = before.get(*key).map(String::as_str).unwrap_or_default();
            screen::diff(&format!("{who} writes in aws-auth, {key}"), before, text);
        }
        Ok(())
    }

    /// aws-auth as it stands.
    pub(crate) async fn aws_auth(&self) -> Result<Data> {
        let found = self.config_maps.get_opt("aws-auth").await?;
        Ok(found
            .context("aws-auth does not exist")?
            .data
            .unwrap_or_default())
    }

    /// Waits until aws-auth is as wanted, and shows how it differs from `before`.
    pub(crate) async fn written(
        &self,
        before: &Data,
        what: &str,
        wanted: impl Fn(&Data) -> bool,
    ) -> Result<Data> {
        let look = async || {
            let data = self.aws_auth().await.map_err(|error| error.to_string())?;
            if wanted(&data) {
                Ok(data)
            } else {
                Err(format!("{data:#?}"))
            }
        };
        let after = until(what, look).await?;
        compare("in aws-auth,", before, &after);
        Ok(after)
    }

    /// Waits until what somebody else did to aws-auth is put right, and shows what remains of it.
    pub(crate) async fn put_right(
        &self,
        before: &Data,
        what: &str,
        wanted: impl Fn(&Data) -> bool,
    ) -> Result<()> {
        let look = async || {
            let data = self.aws_auth().await.map_err(|error| error.to_string())?;
            if wanted(&data) {
                Ok(data)
            } else {
                Err(format!("{data:#?}"))
            }
        };
        let after = until(what, look).await?;
        compare("aws-auth now, against before:", before, &after);
        Ok(())
    }

    /// Waits for a condition, and shows it.
    pub(crate) async fn condition(
        &self,
        name: &str,
        type_: ConditionType,
        status: &str,
        reason: Reason,
    ) -> Result<String> {
        let what = format!("{name} has the condition {type_}={status} ({reason})");
        let look = async || {
            let mapping = self
                .mappings
                .get(name)
                .await
                .map_err(|error| error.to_string())?;
            let mapping_status = mapping.status.clone().unwrap_or_default();
            let current = mapping_status.observed_generation == mapping.metadata.generation;
            let found = mapping_status
                .conditions
                .iter()
                .find(|found| found.type_ == type_.as_str());
            match found {
                Some(found)
                    if current && found.status == status && found.reason == reason.as_str() =>
                {
                    Ok(found.message.clone())
                }
                _ => Err(sentences(&mapping_status.conditions)),
            }
        };
        let message = until(&what, look).await?;
        screen::says(&format!("{name}: {type_}={status}, {reason}"), &message);
        Ok(message)
    }

    /// Waits until a condition's message holds a text, and gives the whole message.
    pub(crate) async fn message_holds(
        &self,
        name: &str,
        type_: ConditionType,
        text: &str,
    ) -> Result<String> {
        let what = format!("{name}'s condition {type_} speaks of {text}");
        let look = async || {
            let mapping = self.mappings.get(name).await;
            let mapping = mapping.map_err(|error| error.to_string())?;
            let conditions = mapping.status.unwrap_or_default().conditions;
            let found = conditions
                .iter()
                .find(|found| found.type_ == type_.as_str() && found.message.contains(text));
            found
                .map(|found| found.message.clone())
                .ok_or_else(|| sentences(&conditions))
        };
        until(&what, look).await
    }

    /// Waits for an event that was not shown yet, and shows it.
    pub(crate) async fn event(&mut self, name: &str, reason: Reason) -> Result<String> {
        let look = async || {
            let all = self
                .events
                .list(&kube::api::ListParams::default())
                .await
                .map_err(|error| error.to_string())?;
            let fresh = all
                .items
                .into_iter()
                .filter(|event| !self.shown.contains(&uid(event)));
            let fresh: Vec<Event> = fresh.collect();
            let regards = |event: &&Event| {
                event
                    .regarding
                    .as_ref()
                    .and_then(|regarding| regarding.name.as_deref())
                    == Some(name)
            };
            let found = fresh
                .iter()
                .filter(regards)
                .find(|event| event.reason.as_deref() == Some(reason.as_str()));
            found.cloned().ok_or_else(|| format!("{fresh:#?}"))
        };
        let event = until(&format!("an event {reason} on {name}"), look).await?;
        self.shown.insert(uid(&event));
        let note = event.note.unwrap_or_default();
        screen::says(&format!("event on {name}: {reason}"), &note);
        Ok(note)
    }

    /// Waits until a mapping is gone.
    pub(crate) async fn gone(&self, name: &str) -> Result<()> {
        let left = self.mappings.get_opt(name).await?;
        ensure!(left.is_none(), "{name} is still there: {left:#?}");
        Ok(())
    }

    /// The operator's writes of aws-auth.
    pub(crate) fn writes(&self) -> Requests {
        self.audit
            .writes("configmaps")
            .of("aws-auth")
            .by(Audit::OPERATOR)
    }

    /// How long after the API server's answer to `cause` it answered the operator's write of aws-auth; both since `mark`,
    /// each exactly once.
    pub(crate) async fn reaction(&self, mark: Mark, cause: Requests) -> Result<Duration> {
        let caused = only(&cause.since(mark)).await.context("what was done")?;
        let written = only(&self.writes().since(mark))
            .await
            .context("the operator's write of aws-auth")?;
        Duration::try_from(written.duration_since(caused))
            .context("the operator wrote before anything was done")
    }

    /// The end of the operator's log.
    pub(crate) fn show_log(&self) {
        let Some(log) = self.place.log() else {
            return;
        };
        let lines: Vec<&str> = log.lines().collect();
        screen::output(&format!(
            "the end of the operator's log:\n{}",
            lines[lines.len().saturating_sub(30)..].join("\n")
        ));
    }

    /// Waits until the operator has rested: after a second without a change it takes the next one for a lone one, and
    /// answers at once.
    pub(crate) async fn breathe(&self) {
        tokio::time::sleep(Duration::from_millis(1200)).await;
    }

    /// Tells how to look around.
    pub(crate) async fn invite(&self) {
        screen::gap();
        screen::text("Everything keeps running until Ctrl-C. In another terminal:");
        self.place.invite().await;
        screen::gap();
        screen::text(
            "And as people who log in: carol with the role BreakGlass, and alice, who is refused once the mapping platform-admins is deleted:",
        );
        for person in [self.amazon.carol(), self.amazon.alice()] {
            let file = self.person_kubeconfig(&person);
            screen::output(&format!(
                "kubectl --kubeconfig={} auth whoami",
                file.display()
            ));
        }
        self.invite_to_aws();
    }
}

/// Shows how aws-auth differs, key by key.
pub(crate) fn compare(title: &str, before: &Data, after: &Data) {
    let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let text = |data: &Data, key: &str| data.get(key).cloned().unwrap_or_default();
    let differs = |key: &&String| text(before, key) != text(after, key);
    let shown = |key: &String| {
        screen::diff(
            &format!("{title} {key}"),
            &text(before, key),
            &text(after, key),
        );
    };
    if before == after {
        screen::diff(title, "", "");
    }
    keys.into_iter().filter(differs).for_each(shown);
}

/// Conditions, one a line.
fn sentences(conditions: &[Condition]) -> String {
    let line = |c: &Condition| format!("\n{}={} ({}): {}", c.type_, c.status, c.reason, c.message);
    conditions.iter().map(line).collect()
}

/// A file of the demo, by its name.
pub(crate) fn manifest(name: &str) -> String {
    format!("tests/demo/manifests/{name}.yaml")
}

/// Its text.
pub(crate) fn read(name: &str) -> Result<String> {
    let path = manifest(name);
    fs::read_to_string(&path).with_context(|| format!("{path} can't be read"))
}

fn uid(event: &Event) -> String {
    event.metadata.uid.clone().unwrap_or_default()
}

/// When the only one of these requests that succeeded was answered.
async fn only(requests: &Requests) -> Result<Timestamp> {
    let records = requests.records().await;
    let done: Vec<_> = records
        .iter()
        .filter(|record| (200..300).contains(&record.code()))
        .collect();
    match done[..] {
        [record] => Ok(record.stage_timestamp.parse()?),
        _ => bail!("expected one request, found {done:#?}"),
    }
}

/// Looks again and again until `look` gives a value. The error says what was waited for and what was found instead.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFn() -> Result<T, String>) -> Result<T> {
    let started = Instant::now();
    loop {
        match look().await {
            Ok(value) => return Ok(value),
            Err(_) if started.elapsed() < DEADLINE => tokio::time::sleep(PAUSE).await,
            Err(state) => bail!(
                "not within {} s: {what}\nfound instead: {state}",
                DEADLINE.as_secs()
            ),
        }
    }
}
