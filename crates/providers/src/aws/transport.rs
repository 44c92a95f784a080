//! The AWS SDK over the HTTP client of all stores, so that its calls have the same TLS stack, address checks, proxy and
//! bounds as all others. The SDK bounds nothing, so what it parses is bounded here, too.

use std::{fmt, sync::Arc, time::Duration};

use aws_smithy_runtime_api::{
    client::{
        http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
        runtime_components::RuntimeComponents,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use reqwest::{
    Method, Request, Url,
    header::{HeaderName, HeaderValue, USER_AGENT},
};

use crate::{
    http::{self, Client, DEADLINE, Failure},
    json::is_sparse,
};

/// Sends the SDK's requests.
#[derive(Clone)]
pub(super) struct Transport(pub(super) Client);

impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Transport")
    }
}

impl HttpClient for Transport {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        // Only calls that ask the machine for credentials set this limit: there may be no server.
        let limit = settings.connect_timeout().zip(settings.read_timeout()).map(|(connect, read)| connect + read);
        SharedHttpConnector::new(Connector { client: self.0.clone(), limit: limit.unwrap_or(DEADLINE) })
    }
}

/// Sends requests within a time.
#[derive(Clone)]
struct Connector {
    client: Client,
    limit: Duration,
}

impl fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { client, limit } = self.clone();
        HttpConnectorFuture::new(async move {
            let request =
                outgoing(&request, client.agent()).ok_or_else(|| ConnectorError::user(Box::new(Failure::Broken)))?;
            let sent = tokio::time::timeout(limit, http::send(&client, request)).await;
            let answer = sent.unwrap_or(Err(Failure::Timeout)).map_err(unsent)?;
            if !is_sparse(answer.body.expose()) {
                return Err(unsent(Failure::TooLarge));
            }
            incoming(&answer).ok_or_else(|| ConnectorError::other(Box::new(Failure::Broken), None))
        })
    }
}

fn unsent(failure: Failure) -> ConnectorError {
    match failure {
        Failure::Timeout => ConnectorError::timeout(Box::new(failure)),
        Failure::Connect | Failure::Broken => ConnectorError::io(Box::new(failure)),
        Failure::Address | Failure::Tls | Failure::TooLarge | Failure::TooMuch => {
            ConnectorError::other(Box::new(failure), None)
        }
    }
}

/// Puts our name before the SDK's in the user agent, which is not signed.
fn outgoing(request: &HttpRequest, agent: &HeaderValue) -> Option<Request> {
    let method = Method::from_bytes(request.method().as_bytes()).ok()?;
    let mut built = Request::new(method, Url::parse(request.uri()).ok()?);
    for (name, value) in request.headers() {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        built.headers_mut().append(name, HeaderValue::from_str(value).ok()?);
    }
    let agent = [Some(agent), built.headers().get(USER_AGENT)].map(|agent| agent.and_then(|agent| agent.to_str().ok()));
    let agent = agent.into_iter().flatten().collect::<Vec<_>>().join(" ");
    built.headers_mut().insert(USER_AGENT, HeaderValue::from_str(&agent).ok()?);
    *built.body_mut() = Some(request.body().bytes()?.to_vec().into());
    Some(built)
}

fn incoming(answer: &http::Answer) -> Option<HttpResponse> {
    let body = SdkBody::from(answer.body.expose().to_vec());
    let mut response = HttpResponse::new(StatusCode::try_from(answer.status).ok()?, body);
    for (name, value) in &answer.headers {
        if let Ok(value) = value.to_str() {
            response.headers_mut().append(name.as_str().to_owned(), value.to_owned());
        }
    }
    if let Some(taken) = &answer.taken {
        response.add_extension(Arc::clone(taken)); // until the SDK has read it
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_us_before_the_library() {
        let agent = HeaderValue::from_static("rekey/1.2.3 (abc)");
        let mut request = HttpRequest::new(SdkBody::from("{}"));
        request.set_uri("https://secretsmanager.eu-west-1.amazonaws.com/").unwrap();
        let named = |request: &HttpRequest| {
            let built = outgoing(request, &agent).unwrap();
            let all: Vec<_> = built.headers().get_all(USER_AGENT).iter().map(|value| value.to_str().unwrap()).collect();
            all.join(", ")
        };
        assert_eq!(named(&request), "rekey/1.2.3 (abc)");
        request.headers_mut().insert("user-agent", "aws-sdk-rust/1.3");
        assert_eq!(named(&request), "rekey/1.2.3 (abc) aws-sdk-rust/1.3");
    }
}
