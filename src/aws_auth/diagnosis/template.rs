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
pub(super) fn is_placeholder(word: &str) -> bool {
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
}
