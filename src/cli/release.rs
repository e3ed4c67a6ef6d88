//! `identity-mapper release`: lets go of everything and leaves all access, before the operator is uninstalled.

use std::io::{BufRead, IsTerminal as _, Write};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use jiff::Timestamp;

use super::connection::{ConfigMapArgs, Connection, ConnectionArgs};
use crate::cluster::Cluster;
use crate::cluster::release::LetGo;
use crate::plan::ConfigMapName;

/// Let go of everything and leave all access: before uninstalling
#[derive(Args, Clone, Debug)]
pub struct ReleaseArgs {
    /// Do it without asking
    #[arg(long)]
    pub yes: bool,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub config_map: ConfigMapArgs,

    #[command(flatten)]
    #[allow(
        missing_docs,
        reason = "a comment here would replace the help of the command"
    )]
    pub connection: ConnectionArgs,
}

/// Releases. What it is about to do and what it did goes to `out`.
pub async fn release(args: ReleaseArgs, out: &mut impl Write) -> Result<()> {
    let ReleaseArgs {
        yes,
        config_map,
        connection,
    } = args;
    let name = ConfigMapName::from(config_map);
    let Connection {
        client,
        url,
        context,
        trust: _,
    } = connection.connect().await?;
    writeln!(out, "cluster:    {url}")?;
    if let Some(context) = context {
        writeln!(out, "context:    {context}")?;
    }
    writeln!(out, "ConfigMap:  {name}")?;
    writeln!(
        out,
        "Every entry stays; it is then nobody's: deleting a mapping no longer removes its entry."
    )?;
    if !yes {
        if !std::io::stdin().is_terminal() {
            bail!("not confirmed; add --yes");
        }
        write!(out, "Release all mappings of this cluster? Type yes: ")?;
        out.flush()?;
        if !confirmed(&mut std::io::stdin().lock())? {
            bail!("not confirmed; nothing was done");
        }
    }

    let history = name.history();
    let cluster = Cluster::new(client, name.clone(), "");
    cluster
        .mark_released(Timestamp::now())
        .await
        .with_context(|| format!("{history} can't be marked as released"))?;
    writeln!(
        out,
        "{history} is marked as released: a running operator writes nothing until it is restarted"
    )?;
    let marked = cluster
        .remove_mark()
        .await
        .with_context(|| format!("the mark on {name} can't be removed"))?;
    let mark = if marked {
        "its mark was removed"
    } else {
        "it has no mark"
    };
    writeln!(out, "{name}: {mark}; no entry was changed")?;
    let LetGo {
        statuses,
        finalizers,
    } = cluster
        .let_mappings_go()
        .await
        .context("a mapping can't be let go of")?;
    writeln!(
        out,
        "mappings: {statuses} statuses cleared, {finalizers} finalizers removed; none is left"
    )?;
    Ok(())
}

fn confirmed(input: &mut impl BufRead) -> Result<bool> {
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
                confirmed(&mut answer.as_bytes()).expect("readable"),
                expected,
                "{answer:?}"
            );
        }
    }
}
