//! Switches rules off, to show that tests notice. In test builds only.

use std::cell::RefCell;
use std::collections::HashSet;

use super::Rule;

thread_local! {
    static OFF: RefCell<HashSet<Rule>> = RefCell::default();
}

/// Whether the rule is switched off in this thread.
pub(super) fn is_off(rule: Rule) -> bool {
    OFF.with_borrow(|off| off.contains(&rule))
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
