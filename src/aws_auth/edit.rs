//! Editing by splicing: unmanaged bytes stay, and what comes out is read back before it may leave.
//!
//! - A change touches the bytes of its own item, and the comma or the line endings that belong to it. All else stays.
//! - The result is parsed again: every item that was not to change must stand there in the same order, byte for byte and
//!   node for node, with the same problems; every item that was to be written must read exactly as meant.
//! - The same input gives the same bytes.

use std::collections::BTreeMap;

use super::read;
use super::render::{self, Layout};
use super::splice::{Editor, Fate};
use super::{Problem, Section, SectionView};
use crate::yaml::Lines;
use crate::yaml::{NodeId, NodeKind, Tree};

/// An entry to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// [`Section::Roles`] or [`Section::Users`].
    pub section: Section,
    /// The ARN, as it shall stand there.
    pub arn: String,
    /// The username.
    pub username: String,
    /// The groups: written sorted and without duplicates.
    pub groups: Vec<String>,
}

/// One change of the document. `item` is [`super::Entry::item`] of the document before the edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryEdit {
    /// Takes an item away.
    Remove {
        /// Its section.
        section: Section,
        /// Its index.
        item: usize,
    },
    /// Puts an entry in an item's place.
    Replace {
        /// Its section.
        section: Section,
        /// Its index.
        item: usize,
        /// What shall stand there.
        entry: NewEntry,
    },
    /// Adds an entry at the end of its list.
    Append(NewEntry),
}

/// Why an edit was not made. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// A section that must change does not parse, or is not a list.
    #[error("{0}")]
    Broken(Problem),
    /// A change can't be made without touching a byte that is not ours.
    #[error("line {line}: {what}")]
    Entangled {
        /// Index into the changes.
        change: usize,
        /// 1-based line within the key's value.
        line: usize,
        /// What prevents it.
        what: String,
    },
    /// The result, read back, differs from what was meant.
    #[error("the edited text, read back, differs from the plan: {detail}")]
    Unverified {
        /// The first difference.
        detail: String,
    },
}

/// Makes all changes, or none. Returns only the keys whose text changed.
///
/// Items are those of `data` as given. Appended entries go to the end of their list, in order. Only [`Section::Roles`]
/// and [`Section::Users`] can be edited.
pub fn edit(
    data: &BTreeMap<String, String>,
    changes: &[EntryEdit],
) -> Result<BTreeMap<String, String>, EditError> {
    let mut edited = BTreeMap::new();
    for section in Section::ALL {
        let mine: Vec<(usize, &EntryEdit)> = changes
            .iter()
            .enumerate()
            .filter(|(_, change)| change.section() == section)
            .collect();
        if mine.is_empty() {
            continue;
        }
        let old = data.get(section.key()).map(String::as_str);
        let new = edit_section(section, old, &mine)?;
        if old.unwrap_or_default() != new {
            edited.insert(section.key().to_owned(), new);
        }
    }
    Ok(edited)
}

impl EntryEdit {
    fn section(&self) -> Section {
        match self {
            EntryEdit::Remove { section, .. } | EntryEdit::Replace { section, .. } => *section,
            EntryEdit::Append(entry) => entry.section,
        }
    }
}

/// What is asked of one section.
struct Wish<'c> {
    fates: Vec<Fate<'c>>,
    /// Which change each fate comes from.
    causes: Vec<Option<usize>>,
    appends: Vec<&'c NewEntry>,
    /// The first change that appends.
    appending: Option<usize>,
}

impl<'c> Wish<'c> {
    fn new(
        section: Section,
        items: usize,
        changes: &[(usize, &'c EntryEdit)],
    ) -> Result<Wish<'c>, EditError> {
        let mut wish = Wish {
            fates: vec![Fate::Keep; items],
            causes: vec![None; items],
            appends: Vec::new(),
            appending: None,
        };
        for &(index, change) in changes {
            let (item, fate) = match change {
                EntryEdit::Append(entry) => {
                    wish.appends.push(entry);
                    wish.appending = wish.appending.or(Some(index));
                    continue;
                }
                EntryEdit::Remove { item, .. } => (*item, Fate::Remove),
                EntryEdit::Replace { item, entry, .. } if entry.section == section => {
                    (*item, Fate::Replace(entry))
                }
                EntryEdit::Replace { entry, .. } => {
                    return Err(unverified(format!(
                        "an entry of {} can't be in {section}",
                        entry.section
                    )));
                }
            };
            match wish.causes.get_mut(item) {
                Some(cause @ None) => {
                    *cause = Some(index);
                    wish.fates[item] = fate;
                }
                Some(Some(_)) => {
                    return Err(unverified(format!(
                        "two changes of item {item} of {section}"
                    )));
                }
                None => return Err(unverified(format!("{section} has no item {item}"))),
            }
        }
        Ok(wish)
    }

    /// The change to blame where no single item is at fault.
    fn any_cause(&self) -> usize {
        self.causes
            .iter()
            .flatten()
            .copied()
            .chain(self.appending)
            .min()
            .unwrap_or_default()
    }
}

fn unverified(detail: String) -> EditError {
    EditError::Unverified { detail }
}

fn edit_section(
    section: Section,
    old: Option<&str>,
    changes: &[(usize, &EntryEdit)],
) -> Result<String, EditError> {
    if section == Section::Accounts {
        let change = changes.first().map_or(0, |(index, _)| *index);
        return Err(EditError::Entangled {
            change,
            line: 1,
            what: "accounts are not edited".to_owned(),
        });
    }
    let text = old.unwrap_or_default();
    let (before, tree) = read::with_tree(section, text);
    if read::is_skipped(text) {
        let wish = Wish::new(section, 0, changes)?;
        let new = fresh(text, &wish.appends);
        return verify(section, None, &before, &new, &wish).map(|()| new);
    }
    if let Some(problem) = before.broken {
        return Err(EditError::Broken(problem));
    }
    let tree = tree.ok_or_else(no_list)?;
    let items = list_items(&tree);
    let wish = Wish::new(section, items.len(), changes)?;
    refuse_shared_anchors(text, &tree, items, &wish)?;
    let mut editor = Editor::new(text, &tree);
    match tree.root.map(|root| tree.node(root)) {
        Some(list) if matches!(list.kind, NodeKind::Sequence { flow: true, .. }) => {
            editor.flow_list(list, items, &wish.fates, &wish.appends);
        }
        Some(list) if matches!(list.kind, NodeKind::Sequence { .. }) && !items.is_empty() => {
            editor
                .block_list(items, &wish.fates, &wish.appends)
                .map_err(|obstacle| EditError::Entangled {
                    change: wish.any_cause(),
                    line: Lines::new(text).position(obstacle.at).0,
                    what: obstacle.what.to_owned(),
                })?;
        }
        _ if wish.appends.is_empty() => {}
        _ => editor.fill(&wish.appends),
    }
    let new = editor.apply();
    verify(section, Some((text, &tree)), &before, &new, &wish)?;
    Ok(new)
}

/// A new list, in place of a text that the authenticator doesn't parse at all.
fn fresh(old: &str, entries: &[&NewEntry]) -> String {
    let eol = if old.contains("\r\n") { "\r\n" } else { "\n" };
    let layout = Layout {
        indent: String::new(),
        eol,
    };
    if entries.is_empty() {
        return old.to_owned();
    }
    let mut out = String::new();
    for entry in entries {
        out.push_str(&render::block(entry, &layout));
        out.push_str(eol);
    }
    out
}

/// Of a text that is neither broken nor skipped.
fn no_list() -> EditError {
    unverified("the text holds no list".to_owned())
}

fn list_items(tree: &Tree) -> &[NodeId] {
    match tree.root.map(|root| &tree.node(root).kind) {
        Some(NodeKind::Sequence { items, .. }) => items,
        Some(NodeKind::Scalar { .. } | NodeKind::Mapping { .. } | NodeKind::Alias { .. })
        | None => &[],
    }
}

/// The nodes of each item: nodes are numbered in document order.
fn item_ranges(tree: &Tree) -> Vec<std::ops::Range<NodeId>> {
    let items = list_items(tree);
    let ends = items.iter().skip(1).copied().chain([tree.len()]);
    items
        .iter()
        .copied()
        .zip(ends)
        .map(|(start, end)| start..end)
        .collect()
}

/// An anchor in an item that goes must not be needed by one that stays.
fn refuse_shared_anchors(
    text: &str,
    tree: &Tree,
    items: &[NodeId],
    wish: &Wish<'_>,
) -> Result<(), EditError> {
    let item_of = |node: NodeId| items.partition_point(|item| *item <= node).checked_sub(1);
    let goes = |item: usize| !matches!(wish.fates[item], Fate::Keep);
    for id in 0..tree.len() {
        let NodeKind::Alias { target } = tree.node(id).kind else {
            continue;
        };
        let (Some(user), Some(definer)) = (item_of(id), item_of(target)) else {
            continue;
        };
        if goes(definer) && !goes(user) {
            let line = Lines::new(text).position(tree.node(id).span.start).0;
            let what = format!("the entry on this line uses an anchor that item {definer} defines");
            return Err(EditError::Entangled {
                change: wish.causes[definer].unwrap_or_default(),
                line,
                what,
            });
        }
    }
    Ok(())
}

/// Reads the new text and compares it with what was meant.
fn verify(
    section: Section,
    old: Option<(&str, &Tree)>,
    before: &SectionView,
    new: &str,
    wish: &Wish<'_>,
) -> Result<(), EditError> {
    let (after, tree) = read::with_tree(section, new);
    if let Some(problem) = after.broken {
        return Err(unverified(problem.to_string()));
    }
    // Items of the new text: which old one each is, or which entry was written.
    let mut expected: Vec<(Option<usize>, Option<&NewEntry>)> = Vec::new();
    for (item, fate) in wish.fates.iter().enumerate() {
        match fate {
            Fate::Keep => expected.push((Some(item), None)),
            Fate::Remove => {}
            Fate::Replace(entry) => expected.push((None, Some(entry))),
        }
    }
    expected.extend(wish.appends.iter().map(|entry| (None, Some(*entry))));
    if read::is_skipped(new) {
        return if expected.is_empty() {
            Ok(())
        } else {
            Err(unverified("the list is empty".to_owned()))
        };
    }
    let tree = tree.ok_or_else(no_list)?;
    let ranges = item_ranges(&tree);
    if ranges.len() != expected.len() {
        return Err(unverified(format!(
            "{} items where {} are expected",
            ranges.len(),
            expected.len()
        )));
    }
    if let Some((text, old_tree)) = old {
        let old_ranges = item_ranges(old_tree);
        for (index, (kept, _)) in expected.iter().enumerate() {
            let Some(item) = *kept else { continue };
            if !old_tree.same_nodes(&old_ranges[item], text, &tree, &ranges[index], new) {
                return Err(unverified(format!("item {item} does not read as before")));
            }
        }
    }
    let mut seen = after.entries.iter().peekable();
    let mut stood = before.entries.iter().peekable();
    for (index, (kept, written)) in expected.iter().enumerate() {
        let entry = seen.next_if(|entry| entry.item == index);
        let matches = match (kept, written) {
            (Some(item), _) => {
                while stood.next_if(|entry| entry.item < *item).is_some() {}
                match (stood.next_if(|entry| entry.item == *item), entry) {
                    (Some(old), Some(new)) => {
                        (&old.arn, &old.username, &old.groups, old.sso)
                            == (&new.arn, &new.username, &new.groups, new.sso)
                    }
                    (None, None) => true,
                    (Some(_), None) | (None, Some(_)) => false,
                }
            }
            (None, Some(wanted)) => entry.is_some_and(|entry| {
                entry.arn == wanted.arn
                    && entry.username == wanted.username
                    && entry.groups == wanted.sorted_groups()
                    && !entry.sso
            }),
            (None, None) => false,
        };
        if !matches {
            return Err(unverified(format!(
                "item {index} of the result does not mean what it should"
            )));
        }
    }
    Ok(())
}
