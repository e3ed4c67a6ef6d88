//! The content of a file.

use std::collections::BTreeMap;
use std::ops::Range;

use super::embedding::Embedding;
use super::finding::LintFinding;
use crate::aws_auth::Section;
use crate::manifest::Manifest;

/// What a file holds, besides mappings.
pub(super) enum ManifestPart {
    /// An aws-auth: its values, and where they are.
    AwsAuth(AwsAuthManifest),
    Mapping(Manifest),
    Other,
    /// Something that is wrong with the file itself.
    Wrong(LintFinding<Range<usize>>),
}

/// The `data` of an aws-auth in a file.
#[derive(Default)]
pub(super) struct AwsAuthManifest {
    pub(super) data: BTreeMap<String, String>,
    /// By key: the bytes of the value in the file, and the places within it where they can be determined.
    pub(super) places: BTreeMap<String, (Range<usize>, Option<Embedding>)>,
    pub(super) keys: BTreeMap<String, Range<usize>>,
    /// What is wrong beside the texts.
    pub(super) wrong: Vec<LintFinding<Range<usize>>>,
    /// The key that a list alone is taken for.
    pub(super) bare: Option<Section>,
    /// Whether it is no manifest that could be applied, so that there is nothing to fix in it.
    pub(super) is_pasted: bool,
}
