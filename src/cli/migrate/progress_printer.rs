//! Reports the progress of a migration and its end.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::access_entry::{INSTALLATION_TAG, policy_name};
use crate::cli::output::{Progress, complain, visible};
use crate::migrate::{Situation, Stage, Way};
use crate::observed::Observed;
use crate::time::{Timestamp, to_the_second};

/// Interval of progress lines where there is no terminal.
const TELL: Duration = Duration::from_secs(10);

/// How many are how far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    ahead: usize,
    making: usize,
    soaking: usize,
    until: Option<Timestamp>,
    there: usize,
    stays: usize,
    blocked: usize,
}

impl Counts {
    pub(super) fn of(situation: &Situation<'_>, operator: bool) -> Self {
        let mut counts = Self::default();
        for principal in &situation.principals {
            match &principal.stage {
                Stage::Ahead => counts.ahead += 1,
                Stage::Making(_) => counts.making += 1,
                Stage::Soaking { until, .. } => {
                    counts.soaking += 1;
                    counts.until = counts.until.max(until.filter(|_| !operator));
                }
                Stage::There => counts.there += 1,
                Stage::Stays(_) => counts.stays += 1,
                Stage::Blocked(_) => counts.blocked += 1,
            }
        }
        counts
    }

    /// All of them in one line.
    pub(super) fn line(&self) -> String {
        let mut parts = Vec::new();
        for (count, what) in [
            (self.ahead, "pending"),
            (self.making, "migrating"),
            (self.soaking, "soaking"),
            (self.there, "done"),
            (self.stays, "staying"),
            (self.blocked, "blocked"),
        ] {
            let until = self.until.filter(|_| what == "soaking");
            if count > 0 {
                let until = until.map_or_else(String::new, |until| {
                    format!(" until {}", to_the_second(until))
                });
                parts.push(format!("{count} {what}{until}"));
            }
        }
        if parts.is_empty() {
            "no principal in aws-auth".to_owned()
        } else {
            parts.join(", ")
        }
    }

    /// Whether the same happens, to other numbers.
    fn is_like(&self, other: &Self) -> bool {
        let kinds = |counts: &Self| {
            [
                counts.ahead,
                counts.making,
                counts.soaking,
                counts.there,
                counts.blocked,
            ]
            .map(|count| count > 0)
        };
        kinds(self) == kinds(other)
    }

    fn total(&self) -> usize {
        self.ahead + self.making + self.soaking + self.there + self.stays + self.blocked
    }
}

/// Tells what is done, and how far everyone has got: as a bar on a terminal, elsewhere in lines.
pub(super) struct ProgressPrinter {
    what: &'static str,
    operator: bool,
    /// Not there while something else is printed: a bar and a line would run into each other.
    progress: Option<Progress>,
    last: Option<Counts>,
    told: Instant,
}

impl ProgressPrinter {
    pub(super) fn new(way: Way, operator: bool) -> Self {
        Self {
            what: match way {
                Way::Forth => "principals moved to access entries",
                Way::Back => "principals moved back to aws-auth",
            },
            operator,
            progress: None,
            last: None,
            told: Instant::now(),
        }
    }

    /// Takes the bar off the terminal.
    pub(super) fn pause(&mut self) {
        self.progress = None;
    }

    pub(super) fn say(&mut self, line: &str) {
        self.pause();
        complain(line);
    }

    /// Tells how far everyone has got, where that has changed.
    pub(super) fn tell(&mut self, situation: &Situation<'_>) {
        let counts = Counts::of(situation, self.operator);
        let what = self.what;
        let progress = self.progress.get_or_insert_with(|| Progress::new(what));
        // Elsewhere than on a terminal a line for each of hundreds of principals would bury what matters.
        let due = match &self.last {
            _ if progress.is_bar() => true,
            None => true,
            Some(last) if *last == counts => false,
            Some(last) => self.told.elapsed() >= TELL || !last.is_like(&counts),
        };
        if due {
            progress.tell(counts.there, counts.total(), &counts.line());
            self.told = Instant::now();
            self.last = Some(counts);
        }
    }

    pub(super) fn last(&self) -> String {
        self.last.as_ref().map(Counts::line).unwrap_or_default()
    }
}

/// Who is left, one in a line with the reason.
pub(super) fn left(situation: &Situation<'_>) -> String {
    let mut text = String::new();
    for principal in &situation.principals {
        let who = visible(&principal.verdict.who.to_string());
        let stage = &principal.stage;
        let _ = match stage {
            Stage::There | Stage::Soaking { .. } => continue,
            Stage::Ahead => writeln!(text, "  {stage}: {who}"),
            Stage::Making(why) | Stage::Stays(why) | Stage::Blocked(why) => {
                writeln!(text, "  {stage}: {who}: {}", visible(why))
            }
        };
    }
    text
}

/// The access entries that are not managed: EKS made them, or somebody did.
pub(super) fn foreign(observed: &Observed, installation: &str) -> Vec<String> {
    let view = observed.aws.view();
    let entries = view
        .into_iter()
        .flat_map(|view| view.entries.by_principal.values())
        .filter_map(|state| state.entry.as_ref());
    entries
        .filter(|entry| entry.tags.get(INSTALLATION_TAG).map(String::as_str) != Some(installation))
        .map(|entry| {
            let policies = entry.policies.iter().map(|(policy, association)| {
                format!(", {} in {}", policy_name(policy), association.scope)
            });
            let policies: String = policies.collect();
            format!("{} ({}{policies})", entry.principal_arn, entry.kind)
        })
        .collect()
}
