//! Asks for confirmation before a change.

use std::io::{BufRead, IsTerminal as _};

use anyhow::{Context as _, Result, bail};

use super::output::complain;

/// Asks on a terminal, and refuses elsewhere. `yes`: it was said already.
pub(crate) fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("not confirmed; nothing was changed. Add --yes to confirm");
    }
    complain(&format!("{question} Type yes:"));
    if answered_yes(&mut std::io::stdin().lock())? {
        return Ok(());
    }
    bail!("not confirmed; nothing was changed")
}

fn answered_yes(input: &mut impl BufRead) -> Result<bool> {
    let mut line = String::new();
    input
        .read_line(&mut line)
        .context("the answer can't be read")?;
    Ok(line.trim() == "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_confirms() {
        for (answer, expected) in [
            ("yes\n", true),
            (" yes \n", true),
            ("y\n", false),
            ("\n", false),
            ("", false),
        ] {
            assert_eq!(
                answered_yes(&mut answer.as_bytes()).expect("readable"),
                expected,
                "{answer:?}"
            );
        }
    }
}
