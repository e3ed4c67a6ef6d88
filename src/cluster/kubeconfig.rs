//! A context of a kubeconfig as a client configuration, with the proxy that kubectl would use.

use std::net::IpAddr;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use kube::config::{Config, KubeConfigOptions, Kubeconfig, KubeconfigError};

/// The configuration of a context, or of the current one. Nothing is called yet.
///
/// Of the environment kube takes `HTTPS_PROXY`, and asks `NO_PROXY` about the proxy itself; kubectl asks it about the API server, and
/// never takes a proxy to the same machine (Go, `net/http.ProxyFromEnvironment`). A kubeconfig's own `proxy-url` has no exceptions.
pub(crate) async fn configuration(
    read: Kubeconfig,
    context: Option<String>,
) -> Result<Config, KubeconfigError> {
    let has_own_proxy = has_own_proxy(&read, context.as_deref());
    let options = KubeConfigOptions {
        context,
        ..KubeConfigOptions::default()
    };
    let mut config = Config::from_custom_kubeconfig(read, &options).await?;
    if !has_own_proxy && !has_proxy(&config.cluster_url, &Matcher::from_env()) {
        config.proxy_url = None;
    }
    Ok(config)
}

fn has_own_proxy(read: &Kubeconfig, context: Option<&str>) -> bool {
    let wanted = context.or(read.current_context.as_deref());
    let context = read.contexts.iter().find(|it| Some(&*it.name) == wanted);
    let cluster = context.and_then(|context| Some(&context.context.as_ref()?.cluster));
    let cluster = read.clusters.iter().find(|it| Some(&it.name) == cluster);
    let proxy = cluster.and_then(|cluster| cluster.cluster.as_ref()?.proxy_url.as_deref());
    proxy.is_some_and(|url| !url.is_empty())
}

/// Whether the environment names a proxy for this address.
fn has_proxy(url: &Uri, environment: &Matcher) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_here = host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    !is_here && environment.intercept(url).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_s_proxy_is_for_all_that_it_does_not_exclude() {
        let environment = Matcher::builder()
            .https("http://proxy.example.com:3128")
            .no("10.0.0.0/8, .internal.example.com")
            .build();
        for (url, expected) in [
            (
                "https://0123456789abcdef.gr7.eu-west-1.eks.amazonaws.com",
                true,
            ),
            ("https://192.0.2.1:6443", true),
            ("https://10.1.2.3", false),
            ("https://api.internal.example.com:6443", false),
            ("https://127.0.0.1:6443", false),
            ("https://[::1]:6443", false),
            ("https://localhost:6443", false),
        ] {
            let url: Uri = url.parse().expect("an address");
            assert_eq!(has_proxy(&url, &environment), expected, "{url}");
        }
        let url: Uri = "https://192.0.2.1".parse().expect("an address");
        assert!(!has_proxy(&url, &Matcher::builder().build()));
    }

    #[test]
    fn a_proxy_is_the_kubeconfig_s_own_by_its_context() {
        let read: Kubeconfig = serde_saphyr::from_str(
            "{clusters: [{name: a, cluster: {server: 'https://a', proxy-url: 'http://p:1'}}, {name: b, cluster: {server: 'https://b'}}],
              contexts: [{name: in-a, context: {cluster: a}}, {name: in-b, context: {cluster: b}}], current-context: in-a}",
        )
        .expect("a kubeconfig");
        for (context, expected) in [(None, true), (Some("in-b"), false), (Some("none"), false)] {
            assert_eq!(has_own_proxy(&read, context), expected, "{context:?}");
        }
    }
}
