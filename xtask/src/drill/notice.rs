//! What an Alertmanager's notifications say.

use anyhow::Result;
use serde_json::Value;
use testkit::{Webhook, webhook::Message};

/// An alert of a notification.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The path that it was sent to, by which receivers are told apart.
    pub path: String,
    /// `firing` or `resolved`.
    pub status: String,
    pub alert: String,
    pub service: String,
    pub severity: String,
    pub summary: String,
    pub runbook: String,
}

/// The first notice with this status of an alert about a service whose name begins so.
///
/// # Errors
///
/// If anything else was sent.
pub fn find(webhook: &Webhook, alert: &str, service: &str, status: &str) -> Result<Option<Notice>> {
    let mut notices = webhook.messages()?.into_iter().flat_map(notices);
    Ok(notices.find(|notice| notice.alert == alert && notice.status == status && notice.service.starts_with(service)))
}

/// The alerts of a notification, as Alertmanager writes it.
fn notices(Message { path, body }: Message) -> Vec<Notice> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let alerts = body["alerts"].as_array().into_iter().flatten();
    let notices = alerts.map(|alert| Notice {
        path: path.clone(),
        status: text(&alert["status"]),
        alert: text(&alert["labels"]["alertname"]),
        service: text(&alert["labels"]["service"]),
        severity: text(&alert["labels"]["severity"]),
        summary: text(&alert["annotations"]["summary"]),
        runbook: text(&alert["annotations"]["runbook_url"]),
    });
    notices.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::{Client, Request};

    #[test]
    fn each_alert_of_a_notification_is_found() {
        let webhook = Webhook::start().unwrap();
        let body = r#"{"alerts":[{"status":"firing","labels":{"alertname":"A","severity":"P1","service":"store-1"},"annotations":{"summary":"s"}},
            {"status":"resolved","labels":{"alertname":"B"}}]}"#;
        Client::connect(webhook.address())
            .unwrap()
            .send(&Request::post("/p1", body))
            .unwrap();
        let find = |alert, service, status| find(&webhook, alert, service, status).unwrap();
        let notice = find("A", "store-", "firing").unwrap();
        assert_eq!((&*notice.path, &*notice.severity, &*notice.summary), ("/p1", "P1", "s"));
        assert!(find("A", "shop-", "firing").is_none());
        assert!(find("B", "", "resolved").is_some() && find("B", "", "firing").is_none());
    }
}
