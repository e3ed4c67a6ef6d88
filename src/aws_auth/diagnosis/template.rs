//! Syntax of templates and variables that should have been replaced before the text reached the cluster.

use std::ops::Range;

/// The authenticator's own placeholders, without braces (`pkg/server/server.go`, `renderTemplate`).
pub(crate) const PLACEHOLDERS: [&str; 5] = [
    "EC2PrivateDNSName",
    "SessionName",
    "SessionNameRaw",
    "AccountID",
    "AccessKeyID",
];

const HELM: &str = "Helm or Go template";
const JINJA: &str = "Jinja or Liquid template";
const TERRAFORM: &str = "Terraform template";
const MUSTACHE: &str = "Mustache or Handlebars template";
const ACTIONS: &str = "GitHub Actions expression";
const ERB: &str = "ERB template";
const CLOUDFORMATION: &str = "CloudFormation function";
const BRACES: &str = "Jinja, Helm or Mustache template";

/// How to render a template of this engine.
pub(super) fn render(engine: &str) -> &'static str {
    match engine {
        HELM => "`helm template RELEASE CHART`",
        JINJA => "with Ansible or jinja2",
        TERRAFORM => "with Terraform's `templatefile`",
        CLOUDFORMATION => "CloudFormation does so only in its own templates",
        _ => "with the tool that it is written for",
    }
}

/// Part of a text that some tool was to replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplateSyntax {
    pub(crate) engine: &'static str,
    pub(crate) span: Range<usize>,
}

/// The first template expression of a text that can't be meant for the authenticator. Comments of YAML are passed over.
pub(crate) fn template(text: &str) -> Option<TemplateSyntax> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_start();
        if !content.starts_with('#') || content.starts_with("#{") {
            let code = without_comment(line);
            if let Some(found) = in_line(code) {
                return Some(TemplateSyntax {
                    engine: found.engine,
                    span: start + found.span.start..start + found.span.end,
                });
            }
        }
        start += line.len();
    }
    None
}

fn without_comment(line: &str) -> &str {
    line.find(" #").map_or(line, |at| {
        let quotes = line[..at].matches(['"', '\'']).count();
        if quotes.is_multiple_of(2) {
            &line[..at]
        } else {
            line
        }
    })
}

fn in_line(line: &str) -> Option<TemplateSyntax> {
    let delimited = [
        ("${{", "}}", ACTIONS),
        ("{%", "%}", JINJA),
        ("{#", "#}", JINJA),
        ("%{", "}", TERRAFORM),
        ("<%", "%>", ERB),
    ];
    let of = |(open, close, engine): &(&str, &str, &'static str)| {
        let at = line.find(open)?;
        let end = line[at + open.len()..].find(close)?;
        Some(TemplateSyntax {
            engine,
            span: at..at + open.len() + end + close.len(),
        })
    };
    let delimited = delimited
        .iter()
        .filter_map(of)
        .min_by_key(|found| found.span.start);
    delimited
        .or_else(|| braces(line))
        .or_else(|| function(line))
}

/// `{{…}}` that is not spelled like a placeholder of the authenticator.
fn braces(line: &str) -> Option<TemplateSyntax> {
    let mut from = 0;
    while let Some(open) = line[from..].find("{{") {
        let at = from + open;
        let inner_start = at + 2;
        let end = line[inner_start..].find("}}")?;
        let inner = &line[inner_start..inner_start + end];
        let mut stop = inner_start + end + 2;
        if inner.contains("{{") {
            // An escaped placeholder: {{ '{{SessionName}}' }}.
            stop = line[stop..].find("}}").map_or(stop, |more| stop + more + 2);
        }
        if let Some(engine) = engine(inner, &line[..at], &line[stop..]) {
            return Some(TemplateSyntax {
                engine,
                span: at..stop,
            });
        }
        from = stop;
    }
    None
}

/// Which engine an expression in `{{…}}` is for, if it is none for the authenticator.
fn engine(inner: &str, before: &str, after: &str) -> Option<&'static str> {
    if inner.starts_with('{') {
        let name = inner.trim_matches(['{', '}', ' ']);
        return (!is_placeholder(name)).then_some(MUSTACHE);
    }
    let trimmed = inner.trim();
    if is_placeholder(trimmed) {
        return None;
    }
    if trimmed.starts_with(['#', '/', '^', '>', '!', '&']) {
        return Some(MUSTACHE);
    }
    if inner.starts_with('-') || inner.ends_with('-') || trimmed.starts_with(['.', '$', '"', '`']) {
        return Some(HELM);
    }
    let first = trimmed.split(|c: char| !c.is_ascii_alphanumeric()).next();
    let keywords = [
        "range", "if", "else", "end", "with", "include", "template", "define", "toYaml", "tpl",
        "printf", "required", "default", "quote",
    ];
    if first.is_some_and(|first| keywords.contains(&first)) && trimmed != first.unwrap_or_default()
        || matches!(trimmed, "end" | "else")
    {
        return Some(HELM);
    }
    if trimmed.starts_with('\'') || trimmed.contains('|') {
        return Some(JINJA);
    }
    let is_word = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    // A word without spaces inside a name may be meant for the authenticator.
    let begins_value =
        before.ends_with(char::is_whitespace) && before.trim_end().ends_with([':', '-']);
    let is_value = begins_value && after.trim_start().is_empty();
    let is_name = is_word(trimmed) && inner == trimmed && !trimmed.is_empty();
    (!is_name || is_value || trimmed.contains('_') || is_in_arn(before)).then_some(BRACES)
}

/// No ARN has so many bytes (IAM API reference, `arnType`: 2048 characters).
const LONGEST_ARN: usize = 2048;

fn is_in_arn(before: &str) -> bool {
    // A line can hold thousands of expressions.
    let near = before.floor_char_boundary(before.len().saturating_sub(LONGEST_ARN));
    let word = before[near..].rsplit([' ', '"', '\'']).next();
    word.is_some_and(|word| word.starts_with("arn:"))
}

/// Whether a word is a placeholder of the authenticator, or spelled much like one.
fn is_placeholder(word: &str) -> bool {
    PLACEHOLDERS
        .iter()
        .any(|known| crate::yaml::almost(word, known))
}

/// Functions of `CloudFormation`, which YAML takes for tags.
fn function(line: &str) -> Option<TemplateSyntax> {
    let (_, value) = line.split_once(": ").or_else(|| line.split_once("- "))?;
    let names = [
        "!Sub",
        "!Ref",
        "!GetAtt",
        "!Join",
        "!ImportValue",
        "!FindInMap",
        "!Select",
    ];
    let content = value.trim_start();
    let name = names.into_iter().find(|name| {
        content
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\n', '\r']))
    })?;
    let at = line.len() - content.len();
    Some(TemplateSyntax {
        engine: CLOUDFORMATION,
        span: at..at + name.len(),
    })
}

/// A variable or placeholder in a value that was to be replaced by hand or by a script, as it is written.
pub(crate) fn unfilled(value: &str) -> Option<&str> {
    let delimited = [
        ("${", "}"),
        ("$(", ")"),
        ("<", ">"),
        ("((", "))"),
        ("[[", "]]"),
        ("#{", "}"),
    ];
    let of = |(open, close): &(&str, &str)| {
        let at = value.find(open)?;
        let inner = &value[at + open.len()..];
        let end = inner.find(close)?;
        (end > 0).then(|| at..at + open.len() + end + close.len())
    };
    let delimited = delimited
        .iter()
        .filter_map(of)
        .min_by_key(|span| span.start);
    delimited
        .or_else(|| dollar(value))
        .or_else(|| surrounded(value))
        .or_else(|| spelled_out(value))
        .map(|span| &value[span])
}

/// `$NAME`.
fn dollar(value: &str) -> Option<Range<usize>> {
    let at = value.find('$')?;
    let name = &value[at + 1..];
    let length = name
        .bytes()
        .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
        .count();
    (length > 0).then(|| at..at + 1 + length)
}

/// `@NAME@`, `%NAME%` and `__NAME__`, which sed and installers replace.
fn surrounded(value: &str) -> Option<Range<usize>> {
    let upper = |text: &str| {
        !text.is_empty()
            && text.bytes().any(|b| b.is_ascii_alphabetic())
            && text
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    ["@", "%", "__"].into_iter().find_map(|mark| {
        let at = value.find(mark)?;
        let inner = &value[at + mark.len()..];
        let end = inner.find(mark)?;
        upper(&inner[..end]).then(|| at..at + end + 2 * mark.len())
    })
}

/// Words that ask to be replaced.
fn spelled_out(value: &str) -> Option<Range<usize>> {
    let words = [
        "REPLACE_ME",
        "REPLACE-ME",
        "REPLACEME",
        "REPLACE_WITH",
        "CHANGE_ME",
        "CHANGE-ME",
        "CHANGEME",
        "FIXME",
        "YOUR_",
        "YOUR-",
        "ACCOUNT_ID",
        "ACCOUNT-ID",
        "ACCOUNTID",
        "AWS_ACCOUNT",
        "ROLE_NAME",
        "ROLE-NAME",
        "ROLENAME",
        "USER_NAME",
        "ROLE_ARN",
        "ROLEARN",
        "USER_ARN",
        "USERARN",
        "INSTANCE_ROLE",
        "NODE_ROLE",
    ];
    let word = |(at, word): (usize, &str)| {
        words
            .iter()
            .any(|known| word.contains(known))
            .then(|| at..at + word.len())
    };
    let mut at = 0;
    for piece in value.split_inclusive([':', '/', ' ']) {
        let bare = piece.trim_end_matches([':', '/', ' ']);
        if let Some(span) = word((at, bare)) {
            return Some(span);
        }
        let is_left_out = bare.len() >= 2 && bare.bytes().all(|b| b == b'.');
        if is_left_out || bare.contains('…') {
            return Some(at..at + bare.len());
        }
        // XXXXXXXXXXXX in place of an account.
        let is_x = bare.len() >= 4 && bare.bytes().all(|b| matches!(b, b'x' | b'X'));
        if is_x {
            return Some(at..at + bare.len());
        }
        at += piece.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_recognised_by_engine() {
        for (line, found) in [
            ("rolearn: {{ arn }}", Some((BRACES, "{{ arn }}"))),
            (
                "username: {{ '{{SessionName}}' }}",
                Some((JINJA, "{{ '{{SessionName}}' }}")),
            ),
            (
                "{%- for user in users %}",
                Some((JINJA, "{%- for user in users %}")),
            ),
            (
                "{{- range .Values.roles }}",
                Some((HELM, "{{- range .Values.roles }}")),
            ),
            ("rolearn: {{ .Values.x }}", Some((HELM, "{{ .Values.x }}"))),
            (
                "rolearn: {{ .arn | quote }}",
                Some((HELM, "{{ .arn | quote }}")),
            ),
            ("{{ end }}", Some((HELM, "{{ end }}"))),
            ("{{#roles}}", Some((MUSTACHE, "{{#roles}}"))),
            ("rolearn: {{{arn}}}", Some((MUSTACHE, "{{{arn}}"))),
            ("rolearn: {{arn}}", Some((BRACES, "{{arn}}"))),
            (
                "rolearn: arn:aws:iam::{{account}}:role/a",
                Some((BRACES, "{{account}}")),
            ),
            (
                "username: dev-{{role_name}}",
                Some((BRACES, "{{role_name}}")),
            ),
            (
                "%{ for role in roles ~}",
                Some((TERRAFORM, "%{ for role in roles ~}")),
            ),
            (
                "rolearn: ${{ secrets.ROLE }}",
                Some((ACTIONS, "${{ secrets.ROLE }}")),
            ),
            ("rolearn: <%= role %>", Some((ERB, "<%= role %>"))),
            (
                "rolearn: !Sub arn:aws:iam::1:role/x",
                Some((CLOUDFORMATION, "!Sub")),
            ),
            ("username: system:node:{{EC2PrivateDNSName}}", None),
            ("username: {{SessionName}}", None),
            ("username: {{ SessionName }}", None),
            ("username: {{Sessionname}}", None),
            ("username: {{{SessionName}}}", None),
            ("username: \"dev:{{UserID}}\"", None),
            ("username: dev:{{UserID}}", None),
            ("- dev-{{UserID}}", None),
            ("# {{ .Values.x }}", None),
            ("rolearn: a # {{ .Values.x }}", None),
        ] {
            let template = template(line);
            let got = template.map(|it| (it.engine, &line[it.span]));
            assert_eq!(got, found, "{line}");
        }
    }

    #[test]
    fn variables_are_named() {
        for (value, found) in [
            ("$instance_role", Some("$instance_role")),
            (
                "arn:aws:iam::${AWS_ACCOUNT_ID}:role/a",
                Some("${AWS_ACCOUNT_ID}"),
            ),
            ("arn:aws:iam::$(ACCOUNT):role/a", Some("$(ACCOUNT)")),
            ("<ARN of instance role>", Some("<ARN of instance role>")),
            ("arn:aws:iam::@ACCOUNT@:role/a", Some("@ACCOUNT@")),
            ("__ROLE__", Some("__ROLE__")),
            ("%ROLE%", Some("%ROLE%")),
            ("((role))", Some("((role))")),
            ("arn:aws:iam::ACCOUNT_ID:role/a", Some("ACCOUNT_ID")),
            ("arn:aws:iam::XXXXXXXXXXXX:role/a", Some("XXXXXXXXXXXX")),
            ("arn:aws:iam::111122223333:role/...", Some("...")),
            ("arn:aws:iam::111122223333:role/a…", Some("a…")),
            ("arn:aws:iam::111122223333:user/a.b", None),
            ("arn:aws:iam::111122223333:user/jane@example.com", None),
            ("arn:aws:iam::111122223333:role/a_b-c", None),
            ("system:node:{{EC2PrivateDNSName}}", None),
        ] {
            assert_eq!(unfilled(value), found, "{value}");
        }
    }
}
