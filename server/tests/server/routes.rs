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
