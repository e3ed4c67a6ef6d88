//! The page for auditors: one file that needs nothing but a browser, and that no value can break out of.
//!
//! Every value is escaped, and the page's own policy lets nothing run or load but the one style and the one script in it, by their
//! hashes (<https://www.w3.org/TR/CSP3/>).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::{Access, Whereabouts};
use crate::cli::output::visible;
use crate::explain::{Backend, Creator, Identity, PassedOver, Place, Report, Row, RowKind};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page.
pub(super) fn page(access: &Access) -> String {
    let Access {
        made,
        cluster,
        report,
    } = access;
    let title = format!("Who gets into {}", visible(cluster.name()));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { (title) }
                    (meta(cluster, report, &made.to_string()))
                    (sums(report))
                    (notes(report))
                    h2 id="whoever" { "Whoever gets in" }
                    (tools(report))
                    (who(report))
                    (everyone(report))
                    (nobody(report))
                    footer {
                        p {
                            "Made by identity-mapper " (env!("CARGO_PKG_VERSION")) " at " (made)
                            ". An entry says who is let in now; API servers may honour a login for some minutes more."
                        }
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// Nothing is loaded, sent or run but what is in the page.
fn policy() -> String {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn meta(cluster: &Whereabouts, report: &Report, made: &str) -> Markup {
    let Whereabouts {
        url,
        context,
        arn,
        config_map,
    } = cluster;
    let fields = [
        ("Cluster", arn.as_deref()),
        ("API server", url.as_deref()),
        ("Context", context.as_deref()),
        ("Authentication mode", report.mode),
        ("ConfigMap", Some(config_map.as_str())),
        ("Looked at", Some(made)),
    ];
    html! {
        dl.meta {
            @for (name, value) in fields {
                @if let Some(value) = value {
                    div { dt { (name) } dd { (visible(value)) } }
                }
            }
        }
    }
}

fn sums(report: &Report) -> Markup {
    let count =
        |wanted: &dyn Fn(&Row) -> bool| report.principals.iter().filter(|row| wanted(row)).count();
    let sums = [
        ("get in", count(&|_| true), None),
        (
            "of them administrators",
            count(&|row| row.identity.administrator.is_some()),
            Some("risk"),
        ),
        ("of them nodes", count(&|row| row.identity.node), None),
        (
            "by access entries",
            count(&|row| row.identity.place.backend() == Backend::AccessEntry),
            None,
        ),
        (
            "by aws-auth",
            count(&|row| row.identity.place.backend() == Backend::ConfigMap),
            None,
        ),
        ("entries let nobody in", report.nobody.len(), None),
    ];
    html! {
        ul.sums {
            @for (what, number, class) in sums {
                li class=[class] { strong { (number) } (what) }
            }
        }
    }
}

fn notes(report: &Report) -> Markup {
    html! {
        @if let Some(Creator { note, cloud_trail, log_group, authenticator_log, lost }) = &report.creator {
            section.note aria-label="The cluster's creator" {
                p { strong { "Not in this list: " } (note) "." }
                p { "Who it was, where that is not 90 days ago (CloudTrail):" }
                pre { (cloud_trail) }
                p { "As whom it signs in, where authenticator logs are on (CloudWatch Logs Insights on " (log_group) "):" }
                pre { (authenticator_log) }
                p { "Where nobody can be that one any more, by the rights of IAM alone (the mode can't be changed back):" }
                pre { (lost.join("\n")) }
            }
        }
        @for note in &report.notes {
            p.note { (visible(note)) }
        }
    }
}

fn tools(report: &Report) -> Markup {
    let kinds = [
        RowKind::Role,
        RowKind::User,
        RowKind::Account,
        RowKind::Other,
    ];
    let there = |kind: RowKind| report.principals.iter().any(|row| row.kind == kind);
    html! {
        div.tools #tools hidden role="search" {
            label { "Search (press / to begin)" input #search type="search" autocomplete="off" spellcheck="false"; }
            label {
                "Backend"
                select #backend {
                    option value="" { "any" }
                    option value=(Backend::AccessEntry.as_str()) { "access entry" }
                    option value=(Backend::ConfigMap.as_str()) { "aws-auth" }
                }
            }
            label {
                "Kind"
                select #kind {
                    option value="" { "any" }
                    @for kind in kinds {
                        @if there(kind) { option value=(kind.as_str()) { (kind.as_str()) } }
                    }
                    option value="node" { "node" }
                }
            }
            label.check { input #administrators type="checkbox"; "administrators only" }
            output #shown for="search backend kind administrators" aria-live="polite" {}
        }
    }
}

fn who(report: &Report) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby="whoever" {
            table #who {
                thead {
                    tr {
                        @for column in ["Principal", "Username and groups", "Administrator", "Access policies", "RBAC", "Declared by, until", "Stands in"] {
                            th scope="col" { (column) }
                        }
                    }
                }
                tbody {
                    @for row in &report.principals { (who_row(row)) }
                }
            }
            p.none #none hidden[!report.principals.is_empty()] { "Nobody." }
        }
    }
}

fn who_row(row: &Row) -> Markup {
    let Row {
        kind,
        identity,
        at_random,
    } = row;
    let Identity {
        principal,
        place,
        username,
        groups,
        access_policies,
        bindings,
        unbound_groups,
        administrator,
        possible_administrator,
        node,
        declared,
    } = identity;
    let word = if *node { "node" } else { kind.as_str() };
    let admin = if administrator.is_some() { "yes" } else { "no" };
    html! {
        tr data-kind=(word) data-backend=(place.backend().as_str()) data-administrator=(admin) {
            th scope="row" {
                span.mono { (broken(principal)) }
                div { span.chip.nodes[*node] { (word) } }
            }
            td {
                div.mono { (broken(username)) }
                @for group in groups { span.chip { (visible(group)) } }
            }
            td {
                @match (administrator, possible_administrator) {
                    (Some(what), _) => { span.chip.admin { "administrator" } div.soft { (visible(what)) } }
                    (None, Some(what)) => { span.chip.admin { "possibly" } div.soft { "it can become " (visible(what)) } }
                    (None, None) => span.soft { "no" }
                }
            }
            td { (list(access_policies.iter().map(ToString::to_string))) }
            td {
                @match bindings {
                    Some(bindings) => (list(bindings.iter().map(ToString::to_string))),
                    None => span.soft { "not looked at" }
                }
                @if !unbound_groups.is_empty() {
                    div.soft { "no binding names " (visible(&unbound_groups.join(", "))) }
                }
            }
            td {
                @match declared {
                    Some(declared) => {
                        div.mono { (visible(&declared.mapping)) }
                        @if let Some(until) = declared.until { div.soft { "until " (until) } }
                    }
                    None => span.soft { "no mapping" }
                }
            }
            td {
                (stands_in(place))
                @if *at_random { div.soft { "at random: the ARN stands there in several spellings" } }
            }
        }
    }
}

/// A value that may be broken after its colons and slashes.
fn broken(value: &str) -> Markup {
    html! {
        @for part in visible(value).split_inclusive(['/', ':']) { (part) wbr; }
    }
}

fn stands_in(place: &Place) -> Markup {
    html! {
        @match place {
            Place::AwsAuth { .. } => { "aws-auth, " (place) },
            Place::AccessEntry(arn) => span title=(visible(arn)) { "access entry" },
        }
    }
}

fn list(items: impl ExactSizeIterator<Item = String>) -> Markup {
    html! {
        @if items.len() == 0 {
            span.soft { "none" }
        } @else {
            ul.plain { @for item in items { li { (visible(&item)) } } }
        }
    }
}

fn everyone(report: &Report) -> Markup {
    html! {
        @if let Some(everyone) = report.everyone.as_ref().filter(|everyone| !everyone.is_empty()) {
            h2 { "What everyone who gets in also has" }
            (list(everyone.iter().map(ToString::to_string)))
        }
    }
}

fn nobody(report: &Report) -> Markup {
    html! {
        @if !report.nobody.is_empty() {
            h2 id="nobody" { "Entries that let nobody in" }
            div.scroll tabindex="0" role="region" aria-labelledby="nobody" {
                table {
                    thead { tr { th scope="col" { "Principal" } th scope="col" { "Stands in" } th scope="col" { "Why" } } }
                    tbody {
                        @for PassedOver { principal, place, why } in &report.nobody {
                            tr {
                                th scope="row" { span.mono { (broken(principal)) } }
                                td { (stands_in(place)) }
                                td { (visible(why)) }
                            }
                        }
                    }
                }
            }
        }
    }
}
