//! The text that a plan starts from: the current aws-auth, or a restored one.

use std::collections::BTreeMap;

use crate::aws_auth::{Document, Problem, Section};
use crate::observed::{ConfigMapView, Observed};
use crate::observed::{Repair, Settings};
use crate::plan::memory::Memory;

/// aws-auth as the plan takes it, before any mapping is looked at.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// Texts, mark and the rest. With `create` it has no resourceVersion.
    pub(crate) view: ConfigMapView,
    /// What the authenticator makes of `view`.
    pub(crate) document: Document,
    /// What the authenticator makes of what really exists.
    pub(crate) standing: Document,
    /// The texts that really stand.
    pub(crate) standing_data: BTreeMap<String, String>,
    /// It does not exist, so a write creates it.
    pub(crate) create: bool,
    /// It stood a moment ago, and is gone.
    pub(crate) deleted: bool,
    /// What is done about broken texts.
    pub(crate) repair: Repair,
    /// Keys whose last good text is restored.
    pub(crate) restored: Vec<Problem>,
}

impl Base {
    pub(crate) fn build(observed: &Observed, settings: &Settings, memory: &Memory) -> Self {
        let repair = settings.repair_in(observed.aws.mode());
        match &observed.config_map {
            Some(view) => Self::standing(view, repair, memory),
            None => Self::missing(repair, memory),
        }
    }

    /// The texts that this process last saw in force, where one of them may come back; `None` where none may.
    pub(crate) fn last_good(&self, memory: &Memory) -> Option<Document> {
        let back = self.repair == Repair::LastGood
            && (!self.restored.is_empty() || (self.create && self.deleted));
        let texts = memory.good.iter();
        let data = texts.map(|(section, text)| (section.key().to_owned(), text.clone()));
        back.then(|| Document::parse(&data.collect()))
    }

    fn standing(standing: &ConfigMapView, repair: Repair, memory: &Memory) -> Self {
        let document = Document::parse(&standing.data);
        let mut view = standing.clone();
        let mut restored = Vec::new();
        for section in Section::ALL {
            let (Some(problem), Some(good)) =
                (&document.section(section).broken, memory.good.get(&section))
            else {
                continue;
            };
            match repair {
                // An immutable ConfigMap can't be repaired by any write.
                Repair::LastGood if !standing.immutable => {
                    view.data.insert(section.key().to_owned(), good.clone());
                    restored.push(problem.clone());
                }
                Repair::LastGood | Repair::Off => {}
            }
        }
        let planned = if restored.is_empty() {
            document.clone()
        } else {
            Document::parse(&view.data)
        };
        Self {
            repair,
            view,
            document: planned,
            standing: document,
            standing_data: standing.data.clone(),
            create: false,
            deleted: false,
            restored,
        }
    }

    fn missing(repair: Repair, memory: &Memory) -> Self {
        let mut view = ConfigMapView::default();
        if let (Repair::LastGood, Some(last)) = (repair, &memory.standing) {
            view = ConfigMapView {
                uid: String::new(),
                resource_version: String::new(),
                managers: [].into(),
                immutable: false,
                ..last.clone()
            };
            for section in Section::ALL {
                let key = section.key();
                if Document::parse(&view.data)
                    .section(section)
                    .broken
                    .is_some()
                {
                    match memory.good.get(&section) {
                        Some(good) => view.data.insert(key.to_owned(), good.clone()),
                        None => view.data.remove(key),
                    };
                }
            }
        }
        Self {
            repair,
            document: Document::parse(&view.data),
            standing: Document::parse(&BTreeMap::new()),
            standing_data: BTreeMap::new(),
            view,
            create: true,
            deleted: memory.standing.is_some(),
            restored: Vec::new(),
        }
    }
}
