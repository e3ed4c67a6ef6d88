//! Others who edit aws-auth beside the operator, each as its kind does, on a real API server: what is lost is lost by whoever
//! overwrites without looking, and never by the operator; what is declared comes back.
//!
//! Every version of aws-auth is seen, with who wrote it: so each write of the operator is compared with the version that it followed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::scenarios::NO_TIMER;
use crate::support::eks::Random;
use crate::support::mappings::{FOREIGN, role};
use crate::support::versions::{Versions, principals, text, without};
use crate::support::{Cluster, Operator, eventually};

/// The environment variable that says how often each writer writes.
const WRITES: &str = "IDENTITY_MAPPER_WRITES";
/// The same where it is not set.
const FEW: u32 = 60;
/// So often each writes until all pause, and what is declared has to stand.
const WAVE: u32 = 6;
/// The longest that a writer thinks between reading and writing, and between two writes.
const THINKS: u32 = 60;
const LONG: Duration = Duration::from_mins(2);
/// What the names of the operator's roles begin with.
const OURS: [&str; 2] = ["role/ours-", "user/ours-"];

/// How a writer edits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Habit {
    /// EKS for a node group: an entry at the end, the rest as it was read; the whole object is replaced by resourceVersion.
    NodeGroup,
    /// eksctl: all entries of the key written anew, sorted and without comments; the whole object is replaced by resourceVersion.
    Eksctl,
    /// `kubectl edit`: a comment and an entry. Its patch carries no resourceVersion, so it overwrites what came in between.
    Person,
    /// Terraform's `kubernetes_config_map_v1_data`: `mapUsers` from its own copy, by a forced apply.
    Terraform,
}

impl Habit {
    const ALL: [Self; 4] = [Self::NodeGroup, Self::Eksctl, Self::Person, Self::Terraform];
}

/// Who wrote which version, as far as they know.
type Authors = Arc<Mutex<BTreeMap<String, Habit>>>;

struct Writer {
    habit: Habit,
    api: Api<ConfigMap>,
    authors: Authors,
    random: Random,
    refused: u32,
}

impl Writer {
    async fn think(&mut self) {
        let time = Duration::from_millis(self.random.below(THINKS).into());
        tokio::time::sleep(time).await;
    }

    /// One edit, made by reading, thinking and writing until it is taken. The number makes its entry its own.
    async fn edit(&mut self, number: u32) {
        loop {
            let read = self.api.get("aws-auth").await.unwrap();
            self.think().await;
            let written = match self.habit {
                Habit::NodeGroup | Habit::Eksctl => {
                    let mut object = read;
                    let data = object.data.get_or_insert_default();
                    let text = data.entry("mapRoles".to_owned()).or_default();
                    *text = self.text(text, number);
                    self.api
                        .replace("aws-auth", &PostParams::default(), &object)
                        .await
                }
                Habit::Person => {
                    let text = read.data.unwrap_or_default().remove("mapRoles");
                    let text = self.text(&text.unwrap_or_default(), number);
                    let patch = json!({"data": {"mapRoles": text}});
                    let params = PatchParams::default();
                    self.api
                        .patch("aws-auth", &params, &Patch::Merge(patch))
                        .await
                }
                Habit::Terraform => {
                    let object = json!({
                        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "aws-auth"},
                        "data": {"mapUsers": users(number)},
                    });
                    let params = PatchParams::apply("Terraform").force();
                    self.api
                        .patch("aws-auth", &params, &Patch::Apply(object))
                        .await
                }
            };
            match written {
                Ok(object) => {
                    let version = object.resource_version().unwrap();
                    let mut authors = self.authors.lock().unwrap();
                    // A write that changes nothing is none.
                    authors.entry(version).or_insert(self.habit);
                    return;
                }
                Err(kube::Error::Api(status)) if status.code == 409 => self.refused += 1,
                Err(error) => panic!("{:?}: {error}", self.habit),
            }
        }
    }

    fn text(&self, read: &str, number: u32) -> String {
        let name = self.name(number);
        let (arn, groups) = (role(&name), ["team"]);
        match self.habit {
            Habit::NodeGroup => format!(
                "{read}- groups:\n  - system:bootstrappers\n  - system:nodes\n  rolearn: {arn}\n  username: system:node:{{{{EC2PrivateDNSName}}}}\n"
            ),
            Habit::Eksctl => {
                let list: Vec<BTreeMap<String, Value>> = serde_saphyr::from_str(read).unwrap();
                let own = json!({"groups": groups, "rolearn": arn, "username": name});
                let own: BTreeMap<String, Value> = serde_json::from_value(own).unwrap();
                let all = list.into_iter().chain([own]);
                all.map(|entry| serialised(&entry)).collect()
            }
            Habit::Person => {
                let entry = json!({"rolearn": arn, "username": name, "groups": groups});
                format!("# for {name}\n- {entry}\n{read}")
            }
            Habit::Terraform => unreachable!("it knows only its own text"),
        }
    }

    fn name(&self, number: u32) -> String {
        let word = format!("{:?}", self.habit).to_lowercase();
        format!("{word}-{number}")
    }
}

/// As sigs.k8s.io/yaml prints it.
fn serialised(entry: &BTreeMap<String, Value>) -> String {
    let mut lines = Vec::new();
    for (field, value) in entry {
        match value {
            Value::Array(items) => {
                lines.push(format!("{field}:"));
                lines.extend(
                    items
                        .iter()
                        .map(|item| format!("- {}", item.as_str().unwrap())),
                );
            }
            value => lines.push(format!("{field}: '{}'", value.as_str().unwrap())),
        }
    }
    format!("- {}\n", lines.join("\n  "))
}

/// Terraform's own copy as of its last plan.
fn users(number: u32) -> String {
    let arn = format!("arn:aws:iam::111122223333:user/terraform-{}", number % 3);
    format!(
        "- \"groups\":\n  - \"team\"\n  \"userarn\": \"{arn}\"\n  \"username\": \"terraform\"\n"
    )
}

fn ours(name: &str, user: bool) -> Value {
    let kind = if user { "user" } else { "role" };
    json!({"principal": {"arn": format!("arn:aws:iam::111122223333:{kind}/{name}")}, "username": name})
}

/// Two mappings are made, one is changed, and one is deleted.
async fn people(cluster: &Cluster, wave: u32) {
    for round in [2 * wave, 2 * wave + 1] {
        let name = format!("ours-{round}");
        cluster.declare(&name, ours(&name, round % 3 == 0)).await;
    }
    if wave >= 1 {
        let groups = json!({"spec": {"groups": ["team", format!("group-{wave}")]}});
        cluster
            .change(&format!("ours-{}", 2 * wave - 1), groups)
            .await;
    }
    if wave >= 3 && !has_person(wave) {
        cluster.delete(&format!("ours-{}", 2 * wave - 4)).await;
    }
}

/// Whether a person edits in this wave. Who saves a text that they read before a revocation brings the entry back, as one of their
/// own: so nothing is revoked in such a wave.
fn has_person(wave: u32) -> bool {
    wave.is_multiple_of(2)
}

/// Whether each mapping of this wave and those before stands in the end.
fn declared(wave: u32) -> BTreeMap<String, bool> {
    let numbers = (0..2 * wave + 2).map(|round| {
        let deleted = (3..=wave).any(|wave| !has_person(wave) && round == 2 * wave - 4);
        (format!("ours-{round}"), !deleted)
    });
    numbers.chain([("ours-first".to_owned(), true)]).collect()
}

/// Waits until ours stand as declared, once, and gives back the object.
async fn converged(cluster: &Cluster, expected: &BTreeMap<String, bool>) -> ConfigMap {
    let stands = eventually("ours stand as declared", LONG, async || {
        let object = cluster.config_maps().get("aws-auth").await.unwrap();
        let counts = principals(&object);
        let count = |name: &String| counts.get(name).copied().unwrap_or(0);
        let mut wrong = expected
            .iter()
            .filter(|(name, stands)| count(name) != usize::from(**stands))
            .peekable();
        if wrong.peek().is_none() {
            return Ok(object);
        }
        let wrong: Vec<_> = wrong.collect();
        Err(format!("{wrong:?} in {}", text(&object, "mapRoles")))
    });
    stands.await
}

/// Four writers, the operator, and people who change what is declared: no update of anyone's is lost by the operator, and what is
/// declared stands in the end, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "one story")]
async fn no_update_is_lost_where_five_write_at_once() {
    let each = std::env::var(WRITES).ok();
    let each: u32 = each.and_then(|it| it.parse().ok()).unwrap_or(FEW);
    let waves = each.div_ceil(WAVE);
    let cluster = Cluster::with_operator_rights().await;
    cluster
        .seed(json!({"mapRoles": FOREIGN, "mapUsers": users(0)}))
        .await;
    let operator = Operator::start(&cluster, &NO_TIMER).await;
    cluster
        .establish("ours-first", ours("ours-first", false))
        .await;
    let versions = Versions::of(&cluster).await;
    let authors = Authors::default();
    let mut writers: Vec<Writer> = (1..)
        .zip(Habit::ALL)
        .map(|(seed, habit)| Writer {
            habit,
            api: cluster.config_maps(),
            authors: authors.clone(),
            random: Random::new(seed),
            refused: 0,
        })
        .collect();
    let begun = Instant::now();
    for wave in 0..waves {
        let writing = futures::future::join_all(writers.iter_mut().map(async |writer| {
            let pauses = writer.habit == Habit::Person && !has_person(wave);
            for number in (wave * WAVE..(wave + 1) * WAVE).filter(|_| !pauses) {
                writer.edit(number).await;
                writer.think().await;
            }
        }));
        futures::join!(writing, people(&cluster, wave));
        // Terraform may have had its last word, and what is ours comes back.
        converged(&cluster, &declared(wave)).await;
    }
    let expected = declared(waves - 1);
    // Those that Terraform reverted are Contested, and not Ready, for a minute more.
    for (name, _) in expected.iter().filter(|(_, stands)| !**stands) {
        cluster.gone(name).await;
    }
    let last = converged(&cluster, &expected).await;
    let all = versions.until(&last.resource_version().unwrap()).await;
    let authors = authors.lock().unwrap().clone();
    let author = |object: &ConfigMap| authors.get(&object.resource_version().unwrap()).copied();
    let mut by_operator = 0;
    let mut turns = 0;
    // Who took which entry out.
    let mut taken: BTreeMap<String, Habit> = BTreeMap::new();
    for pair in all.windows(2) {
        let (old, new) = (&pair[0], &pair[1]);
        turns += u32::from(author(old) != author(new));
        let counts = principals(new);
        match author(new) {
            None => {
                by_operator += 1;
                assert_eq!(
                    without(old, &OURS),
                    without(new, &OURS),
                    "the operator wrote {:?} after {:?}",
                    new.resource_version(),
                    author(old)
                );
            }
            Some(habit) => {
                for name in principals(old)
                    .keys()
                    .filter(|name| !counts.contains_key(*name))
                {
                    taken.insert(name.clone(), habit);
                }
            }
        }
        for (name, count) in counts.iter().filter(|(name, _)| name.starts_with("ours-")) {
            assert_eq!(*count, 1, "{name} in {new:?}");
        }
    }
    let counts = principals(&last);
    let mut overwritten = 0;
    for writer in writers.iter().filter(|it| it.habit != Habit::Terraform) {
        let written = (0..waves * WAVE)
            .filter(|number| writer.habit != Habit::Person || has_person(number / WAVE));
        for name in written.map(|number| writer.name(number)) {
            match (counts.get(&name), taken.get(&name)) {
                (Some(1), _) => {}
                (None, Some(Habit::Person)) => overwritten += 1,
                found => panic!("{name}: {found:?}"),
            }
        }
    }
    let refused: Vec<_> = writers.iter().map(|it| (it.habit, it.refused)).collect();
    println!(
        "{} versions, {turns} changes of the writer, {by_operator} by the operator, refused {refused:?}, {overwritten} overwritten by kubectl edit, {:?}",
        all.len(),
        begun.elapsed()
    );
    let metrics = operator.metrics().await;
    for line in metrics.lines() {
        if line.starts_with("identity_mapper_writes_total")
            || line.starts_with("identity_mapper_passes")
        {
            println!("{line}");
        }
    }
    assert!(turns > each, "{turns} changes of the writer");
    assert!(by_operator >= waves, "{by_operator} writes by the operator");
    assert!(operator.stop().await.0.success());
}
