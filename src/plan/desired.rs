//! The mappings as the planner sees them: parsed once, refused with a sentence where they can't be put into effect.

/// All mappings.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// In any order.
    pub mappings: Vec<Mapping>,
}

/// One mapping.
#[derive(Clone, Debug)]
pub struct Mapping {}

/// A parsed spec.
#[derive(Clone, Debug)]
pub struct Spec {}

/// Why a spec can't be put into effect.
#[derive(Clone, Debug)]
pub struct Refusal {}
