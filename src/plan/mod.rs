//! The planner: what to write, what to refuse and why, what each mapping's status becomes.
//!
//! [`plan`] is a pure function of the desired set, the observed state, the settings and what this process remembers.
//! The controller executes a [`Plan`] and tells [`Plan::report`] what came of it; the report holds the statuses, events
//! and the memory for the next pass. Invariants:
//!
//! - `plan(desired, apply(observed, plan))` writes nothing;
//! - the order of the mappings does not matter;
//! - a foreign entry is changed or removed only by `adoption`;
//! - what could not be read is never taken as empty.

mod action;
mod desired;
mod memory;
mod observed;

pub use action::{
    ConfigMapWrite, EventNote, EventType, FinalizerChange, HistoryWrite, Outcome, Plan, Regarding, Report, StatusWrite,
    Summary, WriteFailure,
};
pub use desired::{Desired, Mapping, Refusal, Spec};
pub use memory::Memory;
pub use observed::{BindingSubjects, Bindings, ConfigMapView, HistoryState, HistoryView, Manager, Observed};
