//! Switches rules off, to show that tests notice. In test builds only.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::LazyLock;

use super::Rule;
use crate::observed::misread::MUTATION;

thread_local! {
    static OFF: RefCell<HashSet<Rule>> = RefCell::default();
}

/// What is broken on purpose in this process.
fn mutation() -> Option<&'static str> {
    static NAME: LazyLock<Option<String>> = LazyLock::new(|| std::env::var(MUTATION).ok());
    NAME.as_deref()
}

/// Whether the rule is switched off, in this thread or in the process.
pub(super) fn is_off(rule: Rule) -> bool {
    OFF.with_borrow(|off| off.contains(&rule))
        || mutation().is_some_and(|name| name == format!("{rule:?}"))
}

/// Runs something without a rule.
pub(crate) fn without<T>(rule: Rule, run: impl FnOnce() -> T) -> T {
    struct Back(Rule);
    impl Drop for Back {
        fn drop(&mut self) {
            OFF.with_borrow_mut(|off| off.remove(&self.0));
        }
    }
    OFF.with_borrow_mut(|off| off.insert(rule));
    let _back = Back(rule);
    run()
}
