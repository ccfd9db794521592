{# CTEs that turn landed lines of Customer.io events (the CTE or relation `lines`) into events: names normalised, and,
   with payload, the fields that landing leaves in `data`. It is a macro because DuckDB parses the JSON of every line of a
   view before a join drops any, so models that need the payload of few lines filter them first. #}
{% macro events_of_lines(lines, name, with_payload=true) -%}
{% set payload_paths = [
    'broadcast_id', 'content', 'content_id', 'email_address', 'failure_message', 'headers', 'identifiers.cio_id',
    'identifiers.email', 'inbound_event_id', 'link_id', 'newsletter_id', 'proxied', 'recipient', 'recipients', 'subject',
    'to', 'tracked_response', 'transactional_message_id', 'trigger_event_id', 'trigger_id',
] %}
{% set envelope = [
    'event_id', 'event_timestamp', 'delivery_id', 'journey_id', 'action_id', 'parent_action_id', 'campaign_id', 'user_id',
    'href', 'is_prefetched', 'is_synthetic', 'is_machine_click', 'data', 'source_file', 'source_line', 'loaded_at',
    'batch_id',
] %}
{{ name }}_read as (

    select
        event_id,
        {{ lines }}.timestamp as event_timestamp,
        delivery_id,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        user_id,
        href,
        is_prefetched,
        is_synthetic,
        is_machine_click,
        data,
        _file as source_file,
        _line as source_line,
        _loaded_at as loaded_at,
        _batch_id as batch_id,
        object_type,
        metric,
        event_type,
        {{ has_plain_names('object_type', 'metric') }} as is_plain
    from {{ lines }}

),

-- nearly all lines have plain names, and normalising a name costs several times as much as reading it
{{ name }}_trimmed as (

    select
        {{ envelope | join(',\n        ') }},
        case when is_plain then object_type end as plain_channel,
        case when is_plain then metric end as plain_metric,
        case when not is_plain then {{ plain_name('object_type') }} end as object_type,
        case
            when not is_plain then coalesce({{ plain_name('metric') }}, {{ plain_name('event_type') }}, 'unknown')
        end as metric_name,
        case when not is_plain then {{ plain_name('event_type') }} end as type_name
    from {{ name }}_read

),

-- 'email_opened', in metric or in the legacy event_type, also names the channel
{{ name }}_named as (

    select
        {{ envelope | join(',\n        ') }},
        plain_channel,
        plain_metric,
        object_type,
        metric_name,
        {{ channel_in_name('metric_name') }} as channel_in_metric,
        {{ channel_in_name('type_name') }} as channel_in_type
    from {{ name }}_trimmed

),

{{ name }}_normalised as (

    select
        {{ envelope | join(',\n        ') }},
        {%- if with_payload %}
        {{ json_fields('data', payload_paths) }} as fields,
        {%- endif %}
        case
            when plain_channel is not null then plain_channel
            when object_type is not null then object_type
            when channel_in_metric is not null then channel_in_metric
            when channel_in_type is not null then channel_in_type
            when metric_name = 'cio_subscription_preferences_changed' then 'customer'
            else 'unknown'
        end as raw_channel,
        case
            when plain_metric is not null then plain_metric
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
        {{ channel_of('raw_channel') }} as channel,
        metric,

        ---------- the message, and what sent it
        delivery_id,
        journey_id,
        action_id,
        parent_action_id,
        campaign_id,
        {%- if with_payload %}
        {{ text_to_bigint(json_field('fields', 'broadcast_id')) }} as broadcast_id,
        {{ text_to_bigint(json_field('fields', 'trigger_id')) }} as trigger_id,
        {{ text_to_bigint(json_field('fields', 'newsletter_id')) }} as newsletter_id,
        {{ text_to_bigint(json_field('fields', 'content_id')) }} as content_id,
        {{ json_field('fields', 'transactional_message_id') }} as transactional_message_id,
        {{ json_field('fields', 'trigger_event_id') }} as trigger_event_id,
        {%- endif %}

        ---------- the person
        user_id,
        {%- if with_payload %}
        {{ json_field('fields', 'identifiers.email') }} as email,
        {{ json_field('fields', 'identifiers.cio_id') }} as cio_id,
        {{ json_field('fields', 'email_address') }} as email_address,
        coalesce({{ json_field('fields', 'recipient') }}, {{ json_field('fields', 'email_address') }}) as recipient,
        {{ json_field('fields', 'recipients') }} as recipients,
        {%- endif %}

        ---------- what was sent, and what happened to it
        href,
        {{ conversion_value('data') }} as conversion_value,
        {%- if with_payload %}
        {{ json_field('fields', 'failure_message') }} as failure_message,
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
        is_prefetched,
        is_synthetic,
        is_machine_click,

        ---------- the line it comes from
        source_file,
        source_line,
        loaded_at,
        batch_id
    from {{ name }}_normalised

)
{%- endmacro %}
