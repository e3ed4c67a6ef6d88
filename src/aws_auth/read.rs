//! Reads one section.

use super::{Section, SectionView};

pub(super) fn section(section: Section, text: Option<&str>) -> SectionView {
    let _ = section;
    SectionView { present: text.is_some(), ..SectionView::default() }
}
