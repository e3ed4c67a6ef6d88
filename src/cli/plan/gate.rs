//! The exit code of `plan`.

use clap::ValueEnum;

use super::document::{GateFault, PlanDocument};
use crate::api::condition::{ConditionType, Reason};
use crate::api::v1alpha1::IdentityMappingStatus;
use crate::aws_auth::{Document, Section};
use crate::cli::output::complain;
use crate::cli::snapshot::Observation;
use crate::diff::Forecast;
use crate::observed::Mode;

/// The exit code where there are changes, as of `kubectl diff` and `terraform plan -detailed-exitcode`.
const CHANGES: u8 = 2;

/// What makes the exit code other than 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum FailOn {
    /// Only an error of the command itself
    Never,
    /// As not-ready, and exit code 2 if there are changes
    Changes,
    /// Exit code 1 if a mapping would not become ready, or a key of aws-auth is invalid YAML
    #[default]
    NotReady,
}

impl FailOn {
    /// The exit code of a plan, whatever its format.
    pub(super) fn exit_code(self, plan: &PlanDocument) -> u8 {
        if self == Self::Never {
            return 0;
        }
        if !plan.faults.is_empty() {
            for fault in &plan.faults {
                complain(&format!("error: {}", fault.line()));
            }
            return 1;
        }
        if self == Self::Changes && plan.changes {
            return CHANGES;
        }
        0
    }
}

/// The keys that can't be read, and the mappings that are not ready once nothing more follows by itself.
pub(super) fn faults(observation: &Observation, course: &Forecast) -> Vec<GateFault> {
    let observed = &observation.observed;
    let read = observed.aws.mode() != Some(Mode::Api);
    let texts = observed.config_map.as_ref().filter(|_| read);
    let document = texts.map(|view| Document::parse(&view.data));
    let broken = Section::ALL.into_iter().filter(|section| {
        let document = document.as_ref();
        document.is_some_and(|document| document.section(*section).broken.is_some())
    });
    let broken = broken.map(|section| GateFault {
        mapping: None,
        key: Some(section.key()),
        reason: Reason::InvalidYAML.to_string(),
    });
    let mappings = course.at_end.iter().filter_map(|(name, status)| {
        Some(GateFault {
            mapping: Some(name.clone()),
            key: None,
            reason: not_ready(status)?.to_owned(),
        })
    });
    broken.chain(mappings).collect()
}

/// Why a mapping is not ready, unless somebody wants it so.
fn not_ready(status: &IdentityMappingStatus) -> Option<&str> {
    let ready = ConditionType::Ready.as_str();
    let ready = status.conditions.iter().find(|it| it.type_ == ready)?;
    let wished = Reason::ALL
        .iter()
        .any(|reason| reason.is_wish() && reason.as_str() == ready.reason);
    (ready.status != "True" && !wished).then_some(ready.reason.as_str())
}
