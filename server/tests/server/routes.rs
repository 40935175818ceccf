//! The table of routes: what each asks of its caller, and that the contract knows it.

use serde_json::Value;
use twinseal_server::http::{Access, ROUTES};

use crate::rig::{Place, client};

fn path(route: &str) -> String {
    route
        .split('/')
        .map(|part| if part.starts_with('{') { "00" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

#[tokio::test]
async fn every_route_but_three_wants_a_key_with_its_scope() {
    let place = Place::new();
    let server = place.serve();
    let client = client();
    let ask = async |route: &twinseal_server::http::Route, key: Option<&str>| {
        let url = format!("{}{}", server.backend, path(route.path));
        let request = client.request(route.method.parse().unwrap(), url);
        let request = key.iter().fold(request, |request, key| request.bearer_auth(key));
        request.send().await.unwrap().status().as_u16()
    };
    let open: Vec<_> = ROUTES.iter().filter(|route| route.access == Access::Open).collect();
    assert_eq!(
        open.iter().map(|route| route.path).collect::<Vec<_>>(),
        ["/healthz", "/readyz", "/openapi.json"]
    );
    for route in &open {
        assert_eq!(ask(route, None).await, 200, "{}", route.path);
    }
    for route in ROUTES {
        let Access::Key(scope) = route.access else { continue };
        let key = |scopes: &[&str]| {
            let mut args = vec!["api-key", "create", "--name", "test", "--service", "*"];
            scopes.iter().for_each(|scope| args.extend(["--scope", scope]));
            place.json(&args)["key"].as_str().unwrap().to_owned()
        };
        let others: Vec<_> = twinseal_server::app::api_keys::Scope::ALL
            .into_iter()
            .filter(|other| *other != scope)
            .map(|other| other.word())
            .collect();
        let what = format!("{} {}", route.method, route.path);
        assert_eq!(ask(route, None).await, 401, "{what}");
        assert_eq!(ask(route, Some("twinseal_000000000000_AAAA")).await, 401, "{what}");
        assert_eq!(ask(route, Some(&key(&others))).await, 403, "{what}");
        let status = ask(route, Some(&key(&[scope.word()]))).await;
        assert!(![401, 403].contains(&status), "{what}: {status}");
    }
}

#[tokio::test]
async fn the_contract_and_the_table_name_the_same_routes() {
    let place = Place::new();
    let server = place.serve();
    let url = format!("{}/openapi.json", server.backend);
    let contract: Value = client().get(url).send().await.unwrap().json().await.unwrap();
    let mut written: Vec<(String, String, bool)> = Vec::new();
    for (path, methods) in contract["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if method != "parameters" {
                let open = operation["security"].as_array().is_some_and(Vec::is_empty);
                written.push((path.clone(), method.to_uppercase(), open));
            }
        }
    }
    let served = ROUTES.iter().map(|route| {
        (route.path.to_owned(), route.method.to_owned(), route.access == Access::Open)
    });
    let mut served: Vec<_> = served.collect();
    written.sort();
    served.sort();
    assert_eq!(written, served);
}

/// Whatever else is sent as a key, or asked of a path that there is.
#[tokio::test]
async fn no_other_authentication_and_no_other_method_opens_a_route() {
    let place = Place::new();
    let server = place.serve();
    let client = client();
    let key = place.api_key();
    let made = place.json(&["api-key", "list"]);
    let id = made["api_keys"][0]["id"].as_str().unwrap();
    place.json(&["api-key", "revoke", id]);
    let valid = place.api_key();
    let cut = &valid[..valid.len() - 1];
    let wrong = [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("bearer{valid}"),
        valid.clone(),
        format!("Basic {valid}"),
        format!("Bearer {cut}"),
        format!("Bearer {valid}x"),
        format!("Bearer {}", valid.to_uppercase()),
        format!("Bearer {key}"),
        format!("Bearer {}", "a".repeat(8000)),
        "Bearer \u{e4}".to_owned(),
    ];
    for route in ROUTES.iter().filter(|route| route.access != Access::Open) {
        let url = format!("{}{}", server.backend, path(route.path));
        for value in &wrong {
            let request = client.request(route.method.parse().unwrap(), &url);
            let value = reqwest::header::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            let reply = request.header("authorization", value.clone()).send().await.unwrap();
            assert_eq!(reply.status().as_u16(), 401, "{} {url}: {value:?}", route.method);
        }
        // A key in another place, or two of them, is no key.
        let twice = client.request(route.method.parse().unwrap(), &url);
        let twice = twice.header("authorization", "Bearer x").bearer_auth(&valid).send().await;
        assert_eq!(twice.unwrap().status().as_u16(), 401);
        let query = format!("{url}?key={valid}&authorization=Bearer%20{valid}");
        let elsewhere = client.request(route.method.parse().unwrap(), query);
        let elsewhere = elsewhere.header("x-api-key", &valid).send().await.unwrap();
        assert_eq!(elsewhere.status().as_u16(), 401);
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"] {
            let reply = client.request(method.parse().unwrap(), &url).send().await.unwrap();
            let status = reply.status().as_u16();
            assert!([401, 405].contains(&status), "{method} {url}: {status}");
        }
        for spelling in ["/", "//", "/.", "/%2e", ";x", "%00", "/../"] {
            let url = format!("{}/{}{spelling}", server.backend, path(route.path));
            let request = client.request(route.method.parse().unwrap(), &url).send().await;
            let status = request.unwrap().status().as_u16();
            assert!([401, 404].contains(&status), "{url}: {status}");
        }
    }
}

#[tokio::test]
async fn each_side_has_its_own_routes_alone() {
    let place = Place::new();
    let server = place.serve();
    let (client, key) = (client(), place.api_key());
    for route in ROUTES {
        let url = format!("{}{}", server.device, path(route.path));
        let request = client.request(route.method.parse().unwrap(), url).bearer_auth(&key);
        assert_eq!(request.send().await.unwrap().status().as_u16(), 404, "{}", route.path);
    }
    for kind in ["challenge", "claim", "activate", "confirm", "message", "fetch"] {
        let post = async |side: &str, kind: &str| {
            let request = client.post(format!("{side}/device/v1/{kind}"));
            let request = request.header("content-type", "application/cose").body("x");
            request.send().await.unwrap().status().as_u16()
        };
        assert_eq!(post(&server.device, kind).await, 400, "{kind}");
        assert_eq!(post(&server.backend, kind).await, 404, "{kind}");
        assert_eq!(post(&server.device, &kind.to_uppercase()).await, 404, "{kind}");
        for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
            let url = format!("{}/device/v1/{kind}", server.device);
            let reply = client.request(method.parse().unwrap(), url).send().await.unwrap();
            assert_eq!(reply.status().as_u16(), 405, "{method} {kind}");
        }
    }
}
