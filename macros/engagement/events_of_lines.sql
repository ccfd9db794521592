{# CTEs that turn landed lines of Customer.io events (the CTE or relation `lines`) into events: names normalised, ids
   and flags read from the JSON. It is a macro because DuckDB parses the JSON of every line of a view before a join
   drops any, so models that need few lines filter them first. Without payload, an event has only what matching, the facts
   and the audits read; parsing that takes DuckDB two thirds of the time. #}
{% macro events_of_lines(lines, name, with_payload=true) -%}
{% set paths = [
    'action_id', 'campaign_id', 'customer_id', 'delivery_id', 'email_id', 'failure_message', 'href', 'identifiers.id',
    'journey_id', 'machine', 'parent_action_id', 'prefetched', 'synthetic', 'variables.campaign.id',
    'variables.delivery_id',
] %}
{% if var('conversion_value_path') %}{% do paths.append(var('conversion_value_path') | string) %}{% endif %}
{% set payload_paths = [
    'broadcast_id', 'content', 'content_id', 'email_address', 'headers', 'identifiers.cio_id', 'identifiers.email',
    'inbound_event_id', 'link_id', 'newsletter_id', 'proxied', 'recipient', 'recipients', 'subject', 'to',
    'tracked_response', 'transactional_message_id', 'trigger_event_id', 'trigger_id',
] %}
{{ name }}_parsed as (

    select
        event_id,
        {{ lines }}.timestamp as event_timestamp,
        {{ plain_name('object_type') }} as object_type,
        coalesce({{ plain_name('metric') }}, {{ plain_name('event_type') }}, 'unknown') as metric_name,
        {{ plain_name('event_type') }} as type_name,
        {{ json_fields('data', paths + payload_paths if with_payload else paths) }} as fields,
        _file as source_file,
        _line as source_line,
        _loaded_at as loaded_at,
        _batch_id as batch_id
    from {{ lines }}

),

-- 'email_opened', in metric or in the legacy event_type, also names the channel
{{ name }}_named as (

    select
        event_id,
        event_timestamp,
        object_type,
        metric_name,
        fields,
        source_file,
        source_line,
        loaded_at,
        batch_id,
        {{ channel_in_name('metric_name') }} as channel_in_metric,
        {{ channel_in_name('type_name') }} as channel_in_type
    from {{ name }}_parsed

),

{{ name }}_normalised as (

    select
        event_id,
        event_timestamp,
        fields,
        source_file,
        source_line,
        loaded_at,
        batch_id,
        case
            when object_type is not null then object_type
            when channel_in_metric is not null then channel_in_metric
            when channel_in_type is not null then channel_in_type
            when metric_name = 'cio_subscription_preferences_changed' then 'customer'
            else 'unknown'
        end as raw_channel,
        case
            when channel_in_metric is null then metric_name
            when metric_name = 'customer_subscription_preferences_changed' then 'cio_subscription_preferences_changed'
            else substr(metric_name, length(channel_in_metric) + 2)
        end as metric
    from {{ name }}_named

),

{{ name }} as (

    select
        ---------- envelope
        event_id,
        event_timestamp,
        {{ unix_to_timestamp('event_timestamp') }} as event_at,
        case when raw_channel = 'twilio' then 'sms' else raw_channel end as channel,
        metric,

        ---------- the message, and what sent it
        coalesce(
            {{ json_field('fields', 'delivery_id') }},
            {{ json_field('fields', 'variables.delivery_id') }},
            {{ json_field('fields', 'email_id') }}
        ) as delivery_id,
        {{ json_field('fields', 'journey_id') }} as journey_id,
        {{ text_to_bigint(json_field('fields', 'action_id')) }} as action_id,
        {{ text_to_bigint(json_field('fields', 'parent_action_id')) }} as parent_action_id,
        coalesce(
            {{ text_to_bigint(json_field('fields', 'campaign_id')) }},
            {{ text_to_bigint(json_field('fields', 'variables.campaign.id')) }}
        ) as campaign_id,
        {%- if with_payload %}
        {{ text_to_bigint(json_field('fields', 'broadcast_id')) }} as broadcast_id,
        {{ text_to_bigint(json_field('fields', 'trigger_id')) }} as trigger_id,
        {{ text_to_bigint(json_field('fields', 'newsletter_id')) }} as newsletter_id,
        {{ text_to_bigint(json_field('fields', 'content_id')) }} as content_id,
        {{ json_field('fields', 'transactional_message_id') }} as transactional_message_id,
        {{ json_field('fields', 'trigger_event_id') }} as trigger_event_id,
        {%- endif %}

        ---------- the person
        coalesce({{ json_field('fields', 'identifiers.id') }}, {{ json_field('fields', 'customer_id') }}) as user_id,
        {%- if with_payload %}
        {{ json_field('fields', 'identifiers.email') }} as email,
        {{ json_field('fields', 'identifiers.cio_id') }} as cio_id,
        {{ json_field('fields', 'email_address') }} as email_address,
        coalesce({{ json_field('fields', 'recipient') }}, {{ json_field('fields', 'email_address') }}) as recipient,
        {{ json_field('fields', 'recipients') }} as recipients,
        {%- endif %}

        ---------- what was sent, and what happened to it
        {{ json_field('fields', 'failure_message') }} as failure_message,
        {{ json_field('fields', 'href') }} as href,
        {{ conversion_value('fields') }} as conversion_value,
        {%- if with_payload %}
        {{ json_field('fields', 'subject') }} as subject,
        {{ json_field('fields', 'content') }} as content,
        {{ json_field('fields', 'headers') }} as headers,
        coalesce(
            cast({{ text_to_bigint(json_field('fields', 'link_id')) }} as {{ dbt.type_string() }}),
            {{ json_field('fields', 'link_id') }}
        ) as link_id,
        {{ json_field('fields', 'tracked_response') }} as tracked_response,
        {{ json_field('fields', 'inbound_event_id') }} as inbound_event_id,
        {{ json_field('fields', 'to') }} as inbound_to,
        {%- endif %}

        ---------- machine flags, null when the event has none
        {%- if with_payload %}
        {{ text_to_boolean(json_field('fields', 'proxied')) }} as is_proxied,
        {%- endif %}
        {{ text_to_boolean(json_field('fields', 'prefetched')) }} as is_prefetched,
        {{ text_to_boolean(json_field('fields', 'synthetic')) }} as is_synthetic,
        {{ text_to_boolean(json_field('fields', 'machine')) }} as is_machine_click,

        ---------- the line it comes from
        source_file,
        source_line,
        loaded_at,
        batch_id
    from {{ name }}_normalised

)
{%- endmacro %}
