//! Values, as `sigs.k8s.io/yaml` hands them to `encoding/json`.
//!
//! go-yaml decodes the tree into maps and slices (`decode.go`: later keys win, merges, aliases, the limit on their
//! expansion), `YAMLToJSON` makes JSON of them (keys become strings and are sorted), and `encoding/json` refuses what
//! JSON cannot say. Only what can matter is kept: the upper levels whole, below them whether something is refused.
//! Nothing recurses, and no more is expanded than go-yaml would expand.

use std::collections::{HashMap, HashSet};

use super::ValueType;
use crate::yaml::{Fault, FaultKind, Node, NodeId, NodeKind, Tree};
use crate::yaml::{Scalar, resolve};

/// A value and the node that it came from.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) node: NodeId,
    pub(super) data: Data,
    /// What JSON cannot say, somewhere in it.
    refused: Option<(NodeId, FaultKind)>,
    /// Nesting of lists and mappings; 0 for a scalar.
    height: usize,
}

impl Value {
    /// The items of a list; none of anything else.
    pub(super) fn items(&self) -> impl Iterator<Item = &Value> {
        match &self.data {
            Data::Seq(items) => items.iter(),
            Data::Null | Data::Bool | Data::Number | Data::Str(_) | Data::Map(_) => [].iter(),
        }
    }
}

/// A value of JSON.
#[derive(Clone, Debug)]
pub(super) enum Data {
    Null,
    Bool,
    Number,
    /// Not necessarily UTF-8; see [`text`].
    Str(Vec<u8>),
    Seq(Vec<Value>),
    /// Sorted by key.
    Map(Vec<(Vec<u8>, NodeId, Value)>),
}

impl Data {
    pub(super) fn value_type(&self) -> ValueType {
        match self {
            Data::Null => ValueType::Null,
            Data::Bool => ValueType::Bool,
            Data::Number => ValueType::Number,
            Data::Str(_) => ValueType::Text,
            Data::Seq(_) => ValueType::List,
            Data::Map(_) => ValueType::Mapping,
        }
    }
}

/// Levels that are kept whole: list, entry, groups or `sso`, and the scalars in them.
const KEPT_LEVELS: usize = 4;
/// `encoding/json`'s `maxNestingDepth`.
const MAX_HEIGHT: usize = 10_000;

/// The bytes as `encoding/json` passes them on: each that is not UTF-8 becomes U+FFFD.
pub(super) fn text(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// The document's value; `None` where there is no document.
pub(super) fn decode(tree: &Tree) -> Result<Option<Value>, Fault> {
    let Some(root) = tree.root else {
        return Ok(None);
    };
    let mut decoder = Decoder::new(tree);
    // go-yaml counts the document itself as a node.
    decoder.count(root)?;
    let value = decoder.run(root)?;
    let fault = |node: NodeId, kind| {
        Err(Fault {
            at: tree.node(node).span.start,
            kind,
        })
    };
    if let Some((node, kind)) = value.refused {
        return fault(node, kind);
    }
    if value.height > MAX_HEIGHT {
        return fault(value.node, FaultKind::TooDeep);
    }
    Ok(Some(value))
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ScalarKey {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    /// By its bits; a NaN equals nothing and gets a number of its own.
    Float(u64),
    NotANumber(usize),
    Str(Vec<u8>),
}

#[derive(Default)]
struct Map {
    index: HashMap<ScalarKey, usize>,
    pairs: Vec<(ScalarKey, NodeId, Value)>,
}

enum Frame {
    Items {
        node: NodeId,
        next: usize,
        items: Vec<Value>,
    },
    /// A mapping, or with a target one that is merged into the map of that frame.
    Pairs {
        node: NodeId,
        next: usize,
        key: Option<(ScalarKey, NodeId)>,
        map: Map,
        target: Option<usize>,
    },
    /// The mappings of a list that are merged, from the last to the first.
    Merges {
        node: NodeId,
        left: usize,
        target: usize,
    },
    Alias {
        node: NodeId,
    },
}

pub(super) struct Decoder<'t> {
    pub(super) tree: &'t Tree,
    frames: Vec<Frame>,
    /// The value that was completed last, for the frame below.
    done: Option<Value>,
    expanding: HashSet<NodeId>,
    pub(super) alias_depth: usize,
    decoded: u32,
    from_aliases: u32,
    nans: usize,
}

impl<'t> Decoder<'t> {
    pub(super) fn new(tree: &'t Tree) -> Decoder<'t> {
        Decoder {
            tree,
            frames: Vec::new(),
            done: None,
            expanding: HashSet::new(),
            alias_depth: 0,
            decoded: 0,
            from_aliases: 0,
            nans: 0,
        }
    }

    fn fault<T>(&self, node: NodeId, kind: FaultKind) -> Result<T, Fault> {
        Err(Fault {
            at: self.tree.node(node).span.start,
            kind,
        })
    }

    /// Counts a step and gives up where go-yaml would take the text for an attack.
    pub(super) fn count(&mut self, node: NodeId) -> Result<(), Fault> {
        self.decoded += 1;
        if self.alias_depth > 0 {
            self.from_aliases += 1;
        }
        let excessive = self.from_aliases > 100
            && self.decoded > 1000
            && f64::from(self.from_aliases) / f64::from(self.decoded)
                > allowed_alias_ratio(self.decoded);
        if excessive {
            return self.fault(node, FaultKind::AliasBomb);
        }
        Ok(())
    }

    fn run(&mut self, root: NodeId) -> Result<Value, Fault> {
        self.enter(root, None)?;
        while let Some(frame) = self.frames.pop() {
            self.step(frame)?;
        }
        Ok(self.done.take().expect("the last frame completes the root"))
    }

    /// Starts on a node: completes it if it is a scalar, else leaves a frame that will.
    fn enter(&mut self, id: NodeId, target: Option<usize>) -> Result<(), Fault> {
        let mut id = id;
        loop {
            self.count(id)?;
            let node = self.tree.node(id);
            match &node.kind {
                NodeKind::Alias { target: aliased } => {
                    if !self.expanding.insert(id) {
                        return self.fault(id, FaultKind::AnchorInItself);
                    }
                    self.alias_depth += 1;
                    self.frames.push(Frame::Alias { node: id });
                    id = *aliased;
                }
                NodeKind::Scalar {
                    value,
                    tag,
                    implicit,
                    ..
                } => {
                    self.done = Some(scalar(id, resolve(value, tag, *implicit, node.span.start)?));
                    return Ok(());
                }
                NodeKind::Sequence { .. } => {
                    self.frames.push(Frame::Items {
                        node: id,
                        next: 0,
                        items: Vec::new(),
                    });
                    return Ok(());
                }
                NodeKind::Mapping { .. } => {
                    self.frames.push(Frame::Pairs {
                        node: id,
                        next: 0,
                        key: None,
                        map: Map::default(),
                        target,
                    });
                    return Ok(());
                }
            }
        }
    }

    fn step(&mut self, frame: Frame) -> Result<(), Fault> {
        match frame {
            Frame::Alias { node } => {
                self.expanding.remove(&node);
                self.alias_depth -= 1;
                Ok(())
            }
            Frame::Items {
                node,
                next,
                mut items,
            } => {
                items.extend(self.done.take());
                let NodeKind::Sequence {
                    items: children, ..
                } = &self.tree.node(node).kind
                else {
                    unreachable!("only sequences get this frame")
                };
                if let Some(&child) = children.get(next) {
                    let next = next + 1;
                    self.frames.push(Frame::Items { node, next, items });
                    self.enter(child, None)
                } else {
                    self.done = Some(self.complete_seq(node, items));
                    Ok(())
                }
            }
            Frame::Merges { node, left, target } => {
                let NodeKind::Sequence { items, .. } = &self.tree.node(node).kind else {
                    unreachable!("only sequences get this frame")
                };
                let Some(left) = left.checked_sub(1) else {
                    return Ok(());
                };
                let child = items[left];
                if !self.is_mapping(child) {
                    return self.fault(child, FaultKind::MergeOfNoMapping);
                }
                self.frames.push(Frame::Merges { node, left, target });
                self.enter(child, Some(target))
            }
            Frame::Pairs {
                node,
                next,
                key,
                map,
                target,
            } => self.step_pairs(node, next, key, map, target),
        }
    }

    fn step_pairs(
        &mut self,
        node: NodeId,
        next: usize,
        key: Option<(ScalarKey, NodeId)>,
        mut map: Map,
        target: Option<usize>,
    ) -> Result<(), Fault> {
        let NodeKind::Mapping { pairs, flow } = &self.tree.node(node).kind else {
            unreachable!("only mappings get this frame")
        };
        let own = self.frames.len();
        let done = self.done.take();
        if next % 2 == 1 {
            // The key is complete; its value comes next.
            let value = done.expect("a key completes before its value starts");
            let id = pairs[next - 1];
            // Of an unquoted `{{SessionName}}` the outer brace is where a person looks for the mistake.
            let place = if *flow { node } else { id };
            let key = self.key(place, value)?;
            self.frames.push(Frame::Pairs {
                node,
                next: next + 1,
                key: Some((key, id)),
                map,
                target,
            });
            return self.enter(pairs[next], None);
        }
        if let (Some((key, id)), Some(value)) = (key, done) {
            match target {
                None => map.set(key, id, value),
                Some(frame) => match &mut self.frames[frame] {
                    Frame::Pairs { map, .. } => map.set(key, id, value),
                    Frame::Items { .. } | Frame::Merges { .. } | Frame::Alias { .. } => {
                        unreachable!("merges go to mappings")
                    }
                },
            }
        }
        let Some(&id) = pairs.get(next) else {
            if target.is_none() {
                self.done = Some(self.complete_map(node, map));
            }
            return Ok(());
        };
        if self.is_merge(id) {
            let merged = pairs[next + 1];
            self.frames.push(Frame::Pairs {
                node,
                next: next + 2,
                key: None,
                map,
                target,
            });
            let target = target.unwrap_or(own);
            if let NodeKind::Sequence { items, .. } = &self.tree.node(merged).kind {
                self.frames.push(Frame::Merges {
                    node: merged,
                    left: items.len(),
                    target,
                });
                return Ok(());
            }
            if !self.is_mapping(merged) {
                return self.fault(merged, FaultKind::MergeOfNoMapping);
            }
            return self.enter(merged, Some(target));
        }
        self.frames.push(Frame::Pairs {
            node,
            next: next + 1,
            key: None,
            map,
            target,
        });
        self.enter(id, None)
    }

    fn is_merge(&self, id: NodeId) -> bool {
        match &self.tree.node(id).kind {
            NodeKind::Scalar {
                value,
                tag,
                implicit,
                ..
            } => value == "<<" && (*implicit || tag == b"tag:yaml.org,2002:merge"),
            NodeKind::Sequence { .. } | NodeKind::Mapping { .. } | NodeKind::Alias { .. } => false,
        }
    }

    /// A mapping, or an alias of one.
    fn is_mapping(&self, id: NodeId) -> bool {
        let is = |node: &Node| matches!(node.kind, NodeKind::Mapping { .. });
        let node = self.tree.node(id);
        match node.kind {
            NodeKind::Alias { target } => is(self.tree.node(target)),
            NodeKind::Scalar { .. } | NodeKind::Sequence { .. } | NodeKind::Mapping { .. } => {
                is(node)
            }
        }
    }

    fn key(&mut self, place: NodeId, value: Value) -> Result<ScalarKey, Fault> {
        match value.data {
            Data::Seq(_) | Data::Map(_) => self.fault(place, FaultKind::CollectionAsKey),
            Data::Str(bytes) => Ok(ScalarKey::Str(bytes)),
            Data::Null => Ok(ScalarKey::Null),
            Data::Bool | Data::Number => self.typed_key(value.node),
        }
    }

    /// The key of a scalar that is no string.
    fn typed_key(&mut self, id: NodeId) -> Result<ScalarKey, Fault> {
        let node = self.tree.node(id);
        let NodeKind::Scalar {
            value,
            tag,
            implicit,
            ..
        } = &node.kind
        else {
            unreachable!("only scalars resolve to numbers and truth values")
        };
        Ok(match resolve(value, tag, *implicit, node.span.start)? {
            Scalar::Null => ScalarKey::Null,
            Scalar::Bool(b) => ScalarKey::Bool(b),
            Scalar::Int(n) if tag == b"tag:yaml.org,2002:float" => {
                #[allow(
                    clippy::cast_precision_loss,
                    reason = "go-yaml converts an integer under !!float the same way"
                )]
                let float = n as f64;
                ScalarKey::Float(float.to_bits())
            }
            Scalar::Int(n) => ScalarKey::Int(n),
            Scalar::Uint(n) => ScalarKey::Uint(n),
            Scalar::Float(f) if f.is_nan() => {
                self.nans += 1;
                ScalarKey::NotANumber(self.nans)
            }
            // Both zeros are one key.
            Scalar::Float(f) => ScalarKey::Float(if f == 0.0 { 0 } else { f.to_bits() }),
            Scalar::Str(bytes) => ScalarKey::Str(bytes),
        })
    }

    /// Whether the collection that is being completed is deeper than anything that is looked at.
    fn is_deep(&self) -> bool {
        let levels = self
            .frames
            .iter()
            .filter(|f| matches!(f, Frame::Items { .. } | Frame::Pairs { target: None, .. }));
        levels.take(KEPT_LEVELS).count() >= KEPT_LEVELS
    }

    fn complete_seq(&self, node: NodeId, items: Vec<Value>) -> Value {
        let refused = items.iter().find_map(|v| v.refused);
        let height = 1 + items.iter().map(|v| v.height).max().unwrap_or(0);
        let data = Data::Seq(if self.is_deep() { Vec::new() } else { items });
        Value {
            node,
            data,
            refused,
            height,
        }
    }

    fn complete_map(&self, node: NodeId, map: Map) -> Value {
        let refused = map.pairs.iter().find_map(|(key, id, value)| match key {
            ScalarKey::Null => Some((*id, FaultKind::EmptyKey)),
            ScalarKey::Uint(_) => Some((*id, FaultKind::NumberAsKey)),
            ScalarKey::Bool(_)
            | ScalarKey::Int(_)
            | ScalarKey::Float(_)
            | ScalarKey::NotANumber(_)
            | ScalarKey::Str(_) => value.refused,
        });
        let height = 1 + map
            .pairs
            .iter()
            .map(|(_, _, v)| v.height)
            .max()
            .unwrap_or(0);
        let mut pairs = Vec::new();
        if !self.is_deep() {
            // Keys that are no strings name no field.
            pairs.extend(
                map.pairs
                    .into_iter()
                    .filter_map(|(key, id, value)| match key {
                        ScalarKey::Str(name) => Some((name, id, value)),
                        ScalarKey::Null
                        | ScalarKey::Bool(_)
                        | ScalarKey::Int(_)
                        | ScalarKey::Uint(_)
                        | ScalarKey::Float(_)
                        | ScalarKey::NotANumber(_) => None,
                    }),
            );
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
        }
        Value {
            node,
            data: Data::Map(pairs),
            refused,
            height,
        }
    }
}

impl Map {
    fn set(&mut self, key: ScalarKey, id: NodeId, value: Value) {
        if let Some(&at) = self.index.get(&key) {
            self.pairs[at] = (key, id, value);
        } else {
            self.index.insert(key.clone(), self.pairs.len());
            self.pairs.push((key, id, value));
        }
    }
}

fn scalar(node: NodeId, scalar: Scalar) -> Value {
    let mut refused = None;
    let data = match scalar {
        Scalar::Null => Data::Null,
        Scalar::Bool(_) => Data::Bool,
        Scalar::Int(_) | Scalar::Uint(_) => Data::Number,
        Scalar::Float(f) => {
            if !f.is_finite() {
                refused = Some((node, FaultKind::NoJsonNumber));
            }
            Data::Number
        }
        Scalar::Str(bytes) => Data::Str(bytes),
    };
    Value {
        node,
        data,
        refused,
        height: 0,
    }
}

/// `allowedAliasRatio` of `decode.go`: 99 % up to 400,000 steps, down to 10 % at 4,000,000.
fn allowed_alias_ratio(decoded: u32) -> f64 {
    const LOW: u32 = 400_000;
    const HIGH: u32 = 4_000_000;
    match decoded {
        0..=LOW => 0.99,
        HIGH.. => 0.10,
        _ => 0.99 - 0.89 * (f64::from(decoded - LOW) / f64::from(HIGH - LOW)),
    }
}
