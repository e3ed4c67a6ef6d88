//! Runs the migration step by step: read, decide, do one thing, read again. Only what is printed is remembered between steps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use tokio_util::sync::CancellationToken;

use crate::api::v1alpha1::BackendChoice;
use crate::aws_auth::{Document, fold_arn};
use crate::cli::migrate::caller::CurrentUser;
use crate::cli::migrate::mode;
use crate::cli::migrate::progress_printer::{Counts, ProgressPrinter, foreign, left};
use crate::cli::migrate::worker::{Look, Worker};
use crate::cli::run::end_on_signals;
use crate::effective::{EffectiveAccess, Reading, Sources};
use crate::import::{ImportOptions, import};
use crate::migrate::{
    BRIDGE, Bridge, Migration, MigrationGoal, NextStep, Rounds, Situation, Stage, Way, Who,
    check_platform, ends, next, next_back, situation, undeclared, verdicts,
};
use crate::observed::{Handover, Mode};
use crate::plan::PING_ANNOTATION;
use crate::principal::Key;
use crate::safety::{Cleared, clear_bridge, clear_mode_change};

/// An operator of which nothing is seen for so long is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(15);

/// An operator that is there answers within so long, also while it starts.
const ANSWER: Duration = Duration::from_secs(30);

/// While EKS lets the operator wait, statuses say the same for minutes.
const PATIENCE: Duration = Duration::from_mins(15);

/// Maximum number of reads in a row without a step in between.
const WHOLE_LOOKS: u32 = 5;

pub(super) struct Ending {
    pub(super) at: StoppedAt,
    /// The counts, in one line.
    pub(super) counts: String,
    /// Who is not where they are to be, one in a line.
    pub(super) left: String,
    /// How many of them a person has to do something about.
    pub(super) open: usize,
    pub(super) mode: Mode,
    pub(super) soaking: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StoppedAt {
    /// Nothing more is to be done.
    End,
    /// Somebody has to change the mode first.
    Mode(Mode),
    /// These would be shut out in the mode asked for.
    Losers(Vec<String>),
    Interrupted,
}

/// A migration in progress.
pub(super) struct Runner {
    pub(super) worker: Worker,
    way: Way,
    caller: CurrentUser,
    stop: CancellationToken,
    printer: ProgressPrinter,
    quiet: Quiet,
    rounds: Rounds,
    whole_looks: u32,
    /// Whether it was told that EKS can't be asked.
    unread: bool,
    /// The modes in which everything was imported that can be.
    imported: BTreeSet<Mode>,
}

/// Since when nothing has changed.
struct Quiet {
    since: Instant,
    /// When the operator last showed that it works.
    heard: Instant,
    /// Since when it is asked.
    asked: Option<Instant>,
    seen: Option<String>,
}

impl Runner {
    pub(super) async fn new(worker: Worker, way: Way) -> Result<Self> {
        let stop = CancellationToken::new();
        end_on_signals(stop.clone())?;
        Ok(Self {
            caller: CurrentUser::find(&worker).await?,
            printer: ProgressPrinter::new(way, worker.installed),
            worker,
            way,
            stop,
            quiet: Quiet::new(Instant::now()),
            rounds: Rounds::default(),
            whole_looks: 0,
            unread: false,
            imported: BTreeSet::new(),
        })
    }

    /// Goes as far as was asked for.
    pub(super) async fn run(&mut self, asked: MigrationGoal) -> Result<Ending> {
        let stop = self.stop.clone();
        let ended = tokio::select! {
            ended = self.go(asked) => Some(ended),
            () = stop.cancelled() => None,
        };
        self.worker.stop().await;
        let ended = match ended {
            Some(ended) => ended,
            None => self.interrupted().await,
        };
        self.printer.pause();
        if ended.is_err() && self.worker.bridge().await.ok() == Some(Bridge::Stands) {
            self.printer.say(&format!(
                "binding: the temporary ClusterRoleBinding {BRIDGE} still exists; fix the problem and run the same command again, which \
                    deletes it at the end"
            ));
        }
        ended
    }

    /// Says where a signal found it. What had begun is whole by now.
    async fn interrupted(&mut self) -> Result<Ending> {
        self.printer.say("stopping after the current step");
        let look = match self.worker.last().await? {
            Some(look) => look,
            None => self.worker.look().await?,
        };
        let migration = verdicts(&look.desired, &look.observed, self.worker.settings())?;
        let situation = self.situation(&migration, &look);
        self.printer.tell(&situation);
        self.leave_bridge(&situation).await?;
        Ok(ending(
            StoppedAt::Interrupted,
            &situation,
            self.worker.installed,
        ))
    }

    fn situation<'a>(&self, migration: &'a Migration, look: &Look) -> Situation<'a> {
        let installation = self.worker.installation();
        let (desired, observed) = (&look.desired, &look.observed);
        situation(
            migration,
            desired,
            observed,
            &installation,
            look.bridge,
            self.way,
        )
    }

    async fn go(&mut self, asked: MigrationGoal) -> Result<Ending> {
        loop {
            let look = self.worker.look().await?;
            let settings = self.worker.settings();
            let Ok(migration) = verdicts(&look.desired, &look.observed, settings) else {
                if !std::mem::replace(&mut self.unread, true) {
                    self.printer
                        .say("the authentication mode can't be read from EKS now; waiting");
                }
                tokio::time::sleep(mode::POLL).await;
                continue;
            };
            self.unread = false;
            let situation = self.situation(&migration, &look);
            self.printer.tell(&situation);
            let asked = MigrationGoal {
                imports: asked.imports && !self.imported.contains(&situation.standing.mode),
                ..asked
            };
            let step = match self.way {
                Way::Forth => next(&situation.standing, asked),
                Way::Back => next_back(&situation.standing),
            };
            if self.decides(step) && !look.whole {
                self.whole_looks += 1;
                if self.whole_looks > WHOLE_LOOKS {
                    bail!(
                        "the cluster's state keeps changing: {}",
                        self.printer.last()
                    );
                }
                self.printer.pause();
                self.worker.refresh().await?;
                continue;
            }
            match step {
                NextStep::Work | NextStep::Soak => {}
                _ => self.whole_looks = 0,
            }
            if !self.rounds.begin(step, &situation, &look.observed) {
                bail!(
                    "the same steps repeat without effect ({}); `identity-mapper migrate status` shows what each principal waits \
                        for. Resolve that, then run the same command again",
                    self.printer.last()
                );
            }
            if let Some(at) = self.take(step, &look, &migration).await? {
                return Ok(ending(at, &situation, self.worker.installed));
            }
        }
    }

    /// What is decided for good is decided by what was read anew.
    fn decides(&self, step: NextStep) -> bool {
        match step {
            NextStep::ChangeMode(Mode::Api)
            | NextStep::AwaitMode(Mode::Api)
            | NextStep::StopForMode(Mode::Api)
            | NextStep::StopForLosers
            | NextStep::End => true,
            // Our own loop knows of each entry that it gives the group.
            NextStep::RemoveBridge => self.worker.installed,
            NextStep::Set(_) => ends(self.way, step),
            NextStep::Import
            | NextStep::ChangeMode(_)
            | NextStep::AwaitMode(_)
            | NextStep::StopForMode(_)
            | NextStep::MakeBridge
            | NextStep::Work
            | NextStep::Soak => false,
        }
    }

    /// Does one thing; gives where the run ends, if it does.
    async fn take(
        &mut self,
        step: NextStep,
        look: &Look,
        migration: &Migration,
    ) -> Result<Option<StoppedAt>> {
        match step {
            NextStep::Import => self.import(look, migration).await?,
            NextStep::ChangeMode(mode) | NextStep::AwaitMode(mode) => {
                if let Some(why) = self.shut_out(mode, look, migration) {
                    bail!("{why}");
                }
                let awaited = matches!(step, NextStep::AwaitMode(_));
                self.change_mode(awaited, mode, look, migration).await?;
            }
            NextStep::StopForMode(mode) => {
                if let Some(why) = self.shut_out(mode, look, migration) {
                    bail!("{why}");
                }
                return Ok(Some(StoppedAt::Mode(mode)));
            }
            NextStep::StopForLosers => {
                let mut losers: Vec<String> = migration
                    .losers(Mode::Api)
                    .map(|loser| loser.who.to_string())
                    .collect();
                let nodes = migration.broken_nodes();
                losers.extend(nodes.map(|it| format!("{}, whose nodes can't work now", it.who)));
                let unreadable = migration.unreadable.iter();
                losers.extend(
                    unreadable.map(|it| format!("principals in {}: {}", it.place, it.message)),
                );
                let misread = migration.unknown_lines();
                losers.extend(misread.map(|it| {
                    format!(
                        "principals of {}, which is misread: {}",
                        it.place, it.message
                    )
                }));
                if let Some(why) = self.shut_out(Mode::Api, look, migration) {
                    losers.insert(0, why);
                }
                return Ok(Some(StoppedAt::Losers(losers)));
            }
            NextStep::Set(handover) => {
                self.set(handover).await?;
                if ends(self.way, step) {
                    return Ok(Some(StoppedAt::End));
                }
            }
            NextStep::MakeBridge => self.make_bridge(look).await?,
            NextStep::RemoveBridge => self.remove_bridge().await?,
            NextStep::Work | NextStep::Soak => {
                self.worker.work()?;
                self.still_answered(step, look).await?;
                self.worker.wait().await;
            }
            NextStep::End => return Ok(Some(StoppedAt::End)),
        }
        Ok(None)
    }

    fn shut_out(&self, mode: Mode, look: &Look, migration: &Migration) -> Option<String> {
        (mode == Mode::Api)
            .then(|| self.caller.shut_out(migration, &look.observed.aws))
            .flatten()
    }

    async fn change_mode(
        &mut self,
        awaited: bool,
        mode: Mode,
        look: &Look,
        migration: &Migration,
    ) -> Result<()> {
        self.worker.stop().await;
        if mode == Mode::ApiAndConfigMap {
            let (_, proven) = self.worker.eks()?;
            check_platform(&proven.version, &proven.platform_version)?;
        }
        let installation = self.worker.installation();
        let before = foreign(&look.observed, &installation);
        let (aws, proven) = self.worker.eks()?;
        let cluster = proven.cluster.clone();
        if awaited {
            self.printer.say(&format!(
                "waiting until the authentication mode is changed to {mode}: {}",
                mode::command(&cluster, mode)
            ));
            mode::wait_for(aws, &cluster, mode).await?;
        } else {
            let cleared = self
                .clear_mode(mode, look, migration)
                .map_err(|why| anyhow!("the authentication mode was not changed: {why}"))?;
            self.printer.pause();
            mode::change(aws, &cluster, cleared).await?;
        }
        self.printer.say(&format!("mode: now {mode}"));
        self.worker.refresh().await?;
        let look = self.worker.look().await?;
        for entry in foreign(&look.observed, &installation) {
            if !before.contains(&entry) {
                self.printer
                    .say(&format!("EKS created the access entry of {entry}"));
            }
        }
        self.quiet.begin();
        Ok(())
    }

    fn clear_mode(
        &self,
        mode: Mode,
        look: &Look,
        migration: &Migration,
    ) -> Result<Cleared<Mode>, String> {
        let observed = &look.observed;
        let none = BTreeMap::new();
        let data = observed
            .config_map
            .as_ref()
            .map_or(&none, |view| &view.data);
        let document = Document::parse(data);
        let access = EffectiveAccess::new(Sources {
            aws_auth: &document,
            reading: Reading::AsAwsAuth,
            aws: &observed.aws,
            bindings: &observed.bindings,
        });
        let listed = |name: &str| {
            let key = Key::parse_arn(name);
            migration.losers(mode).any(|loser| match &loser.who {
                Who::Principal { key: loses, .. } => Some(loses) == key.as_ref(),
                Who::Account(account) => account == name,
                Who::Other(arn) => fold_arn(arn) == name,
            })
        };
        clear_mode_change(&access, mode, listed, self.caller.proven_arn())
    }

    async fn set(&mut self, handover: Handover) -> Result<()> {
        let set = self.worker.live.cluster.set_handover(handover).await;
        let set = set.with_context(|| {
            format!(
                "the handover setting on {} can't be changed",
                self.history()
            )
        })?;
        if set {
            self.printer.say(&format!(
                "handover: set to {handover} on {}",
                self.history()
            ));
        }
        self.worker.catch_up().await;
        self.quiet.begin();
        Ok(())
    }

    fn history(&self) -> String {
        self.worker.settings().config_map.history().to_string()
    }

    async fn make_bridge(&mut self, look: &Look) -> Result<()> {
        let cleared = clear_bridge(&look.observed, &self.worker.installation()).map_err(|why| {
            anyhow!("the temporary ClusterRoleBinding {BRIDGE} was not created: {why}")
        })?;
        let made = self.worker.live.cluster.make_bridge(&cleared).await;
        let made = made.with_context(|| {
            format!("the temporary ClusterRoleBinding {BRIDGE} can't be created")
        })?;
        if made == Bridge::Stands {
            self.printer.say(&format!(
                "binding: created the temporary ClusterRoleBinding {BRIDGE}"
            ));
        }
        self.worker.catch_up().await;
        self.quiet.begin();
        Ok(())
    }

    /// Takes the bridge away once nobody new can have set foot on it.
    async fn remove_bridge(&mut self) -> Result<()> {
        self.worker.close_bridge().await;
        let look = self.worker.look().await?;
        let needed = verdicts(&look.desired, &look.observed, self.worker.settings())
            .map_or(true, |migration| {
                self.situation(&migration, &look).standing.needs_bridge
            });
        if !needed {
            self.take_bridge_away().await?;
        }
        self.worker.open_bridge();
        if self.worker.installed {
            // An operator does not wait for us: should it have begun with somebody new just now, the bridge is made again at once.
            self.worker.refresh().await?;
        }
        Ok(())
    }

    async fn take_bridge_away(&mut self) -> Result<()> {
        let removed = self.worker.live.cluster.remove_bridge().await;
        removed.with_context(|| {
            format!(
                "the temporary ClusterRoleBinding {BRIDGE} can't be deleted; it makes every member of its group an administrator: \
                    kubectl delete clusterrolebinding {BRIDGE}"
            )
        })?;
        self.printer.say(&format!(
            "binding: deleted the temporary ClusterRoleBinding {BRIDGE}"
        ));
        Ok(())
    }

    /// At a signal: the bridge goes unless somebody depends on it. Where an operator works, it goes on without us.
    async fn leave_bridge(&mut self, situation: &Situation<'_>) -> Result<()> {
        if situation.standing.bridge != Bridge::Stands {
            return Ok(());
        }
        let crossing = situation.principals.iter().any(|principal| {
            principal.verdict.bridge && matches!(principal.stage, Stage::Making(_))
        });
        if self.worker.installed || crossing || situation.on_bridge {
            self.printer.say(&format!(
                "binding: the temporary ClusterRoleBinding {BRIDGE} stays, because administrators depend on it; run the same command \
                    again, which deletes it at the end"
            ));
            return Ok(());
        }
        self.take_bridge_away().await
    }

    /// Makes mappings of what none declares, as `import` writes them, and open to the handover.
    async fn import(&mut self, look: &Look, migration: &Migration) -> Result<()> {
        let mode = look.observed.aws.mode().unwrap_or(migration.from);
        let wanted: BTreeSet<&Key> = undeclared(migration, mode)
            .filter_map(|verdict| verdict.who.key())
            .collect();
        let options = ImportOptions {
            nodes: true,
            ..ImportOptions::default()
        };
        let settings = self.worker.settings();
        let found = import(&look.desired, &look.observed, settings, options);
        let mut count = 0;
        for imported in found.imported {
            let mut mapping = imported.object;
            mapping.spec.backend = BackendChoice::Auto;
            let arn = mapping.spec.principal.arn.as_deref().unwrap_or_default();
            if !Key::parse_arn(arn).is_some_and(|key| wanted.contains(&key)) {
                continue;
            }
            let name = mapping.metadata.name.as_deref().unwrap_or_default();
            let created = self.worker.live.cluster.create_mapping(&mapping).await;
            let created = created
                .with_context(|| format!("{arn} can't be imported as IdentityMapping {name}"))?;
            if !created {
                bail!(
                    "{arn} can't be imported: an IdentityMapping {name} has just been created by someone else; run the same \
                        command again"
                );
            }
            count += 1;
        }
        for left in &found.left {
            if Key::parse_arn(&left.what).is_some_and(|key| wanted.contains(&key)) {
                self.printer
                    .say(&format!("import: skipped {}: {}", left.what, left.message));
            }
        }
        self.printer.say(&format!(
            "import: created {count} IdentityMappings for principals that had none"
        ));
        self.imported.insert(mode);
        self.quiet.begin();
        Ok(())
    }

    /// An operator that does not answer hands nobody over, and a command that waits for EKS for a quarter of an hour waits for a person.
    async fn still_answered(&mut self, step: NextStep, look: &Look) -> Result<()> {
        let mut seen = String::new();
        for mapping in &look.desired.mappings {
            let status = serde_json::to_string(&mapping.status)?;
            seen.push_str(&status);
        }
        // Where an operator hands over, what others write into aws-auth is no sign of it.
        let version = look.observed.config_map.as_ref();
        let version = version.filter(|_| !self.worker.installed);
        seen.push_str(version.map_or("", |view| &view.resource_version));
        let history = look.observed.history.view();
        let asked = history.is_some_and(|view| view.annotations.contains_key(PING_ANNOTATION));
        let answers = !self.worker.installed || !asked;
        match self.quiet.look(seen, answers, Instant::now()) {
            Silence::Ask if self.worker.installed => {
                let asked = self.worker.live.cluster.ping(look.observed.now).await;
                asked.with_context(|| {
                    format!("the operator can't be reached through {}", self.history())
                })
            }
            Silence::NeverMatches(seconds) => bail!(
                "no operator answers: the CustomResourceDefinition is installed, so the operator has to hand over, but for \
                    {seconds} s it has not removed the annotation {PING_ANNOTATION} from {} ({}). Start the operator or read its \
                    logs, then run the same command again",
                self.history(),
                self.printer.last()
            ),
            Silence::Stuck(seconds) if step == NextStep::Work => bail!(
                "nothing has changed for {seconds} s ({}). `identity-mapper migrate status` shows what each principal waits for; \
                    resolve that, then run the same command again",
                self.printer.last()
            ),
            Silence::Ask | Silence::Stuck(_) | Silence::Fine => Ok(()),
        }
    }
}

/// What it means that nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    Fine,
    /// The operator is to be asked whether it is there.
    Ask,
    /// It was asked, and has not answered for so many seconds.
    NeverMatches(u64),
    /// The one that hands over is there, and has changed nothing for so many seconds.
    Stuck(u64),
}

impl Quiet {
    fn new(now: Instant) -> Self {
        Self {
            since: now,
            heard: now,
            asked: None,
            seen: None,
        }
    }

    /// Something was done that has to be answered.
    fn begin(&mut self) {
        self.seen = None;
    }

    /// Judges a look: what was seen, and whether the operator has answered what it was asked.
    fn look(&mut self, seen: String, answers: bool, now: Instant) -> Silence {
        let changed = self.seen.as_ref() != Some(&seen);
        if changed {
            self.since = now;
            self.seen = Some(seen);
        }
        if changed || (self.asked.is_some() && answers) {
            self.heard = now;
            self.asked = None;
        }
        let since = |time: Instant| now.saturating_duration_since(time);
        match self.asked {
            Some(asked) if since(asked) > ANSWER => Silence::NeverMatches(since(asked).as_secs()),
            None if since(self.since) > PATIENCE => Silence::Stuck(since(self.since).as_secs()),
            None if since(self.heard) > SILENCE => {
                self.asked = Some(now);
                Silence::Ask
            }
            Some(_) | None => Silence::Fine,
        }
    }
}

fn ending(at: StoppedAt, situation: &Situation<'_>, operator: bool) -> Ending {
    let open = situation.principals.iter().filter(|principal| {
        matches!(
            principal.stage,
            Stage::Ahead | Stage::Making(_) | Stage::Blocked(_)
        ) || (matches!(principal.stage, Stage::Stays(_)) && principal.verdict.lost_in_api)
    });
    Ending {
        at,
        counts: Counts::of(situation, operator).line(),
        left: left(situation),
        open: open.count(),
        mode: situation.standing.mode,
        soaking: situation.standing.soaking,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_operator_is_pinged_and_times_out_within_a_minute() {
        let start = Instant::now();
        let mut quiet = Quiet::new(start);
        let mut look = |seen: &str, answers, seconds| {
            let now = start + Duration::from_secs(seconds);
            quiet.look(seen.to_owned(), answers, now)
        };
        assert_eq!(look("a", true, 0), Silence::Fine);
        assert_eq!(look("a", true, 16), Silence::Ask);
        assert_eq!(look("a", false, 18), Silence::Fine);
        assert_eq!(look("a", false, 46), Silence::Fine);
        assert_eq!(look("a", false, 47), Silence::NeverMatches(31));
    }

    #[test]
    fn an_operator_that_answers_is_given_time_to_wait_for_eks() {
        let start = Instant::now();
        let mut quiet = Quiet::new(start);
        let mut look = |seen: &str, answers, seconds| {
            let now = start + Duration::from_secs(seconds);
            quiet.look(seen.to_owned(), answers, now)
        };
        assert_eq!(look("a", true, 0), Silence::Fine);
        for minute in 1..15 {
            assert_eq!(look("a", true, 60 * minute), Silence::Ask, "{minute}");
            assert_eq!(look("a", true, 60 * minute + 2), Silence::Fine);
        }
        assert_eq!(look("a", true, 901), Silence::Stuck(901));
        assert_eq!(look("b", true, 902), Silence::Fine, "it goes on");
    }
}
