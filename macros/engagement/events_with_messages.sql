{# The select of fct_engagement_events: an event with what is known of its message. It reads the CTE metric_names. A
   macro, because DuckDB copies out a CTE that two places read: 24 M events of 25 columns, which spilled to disk and
   took most of the time. #}
{% macro events_with_messages() -%}
select
    events.feed,
    events.event_id,
    events.event_date,
    events.event_at,
    events.channel,
    events.metric,
    metric_names.counts_as,
    events.delivery_id,
    events.journey_id,
    events.action_id,
    events.parent_action_id,
    events.campaign_id,
    events.user_id,
    events.href,
    case
        when coalesce(metric_names.counts_as, events.metric) = 'opened'
            then
                coalesce(events.is_prefetched, false)
                or (coalesce(events.is_synthetic, false) and not messages.has_human_click)
        when coalesce(metric_names.counts_as, events.metric) = 'clicked'
            then coalesce(events.is_machine_click, false)
        else false
    end as is_machine,
    case when metric_names.counts_as = 'converted' then events.conversion_value end as conversion_value,
    messages.delivery_key,
    messages.copy_id,
    messages.delivery_date,
    messages.last_called_at,
    messages.control_template_id,
    case
        when messages.delivery_key is null or {{ same_ids('events', 'messages') }} then messages.match_method
        else 'delivery_id'
    end as match_method,
    messages.unmatched_reason,
    case
        when events.is_in_earlier_feed then 'in_other_feed'
        when messages.unmatched_reason is not null then 'unmatched'
        when events.event_at > messages.window_ends_at then 'outside_window'
        {{ when_conversion_is_outside_window('metric_names.counts_as', 'events.event_at', 'messages.first_event_at') }}
        when metric_names.metric is null then 'unknown_metric'
        when metric_names.counts_as is null then 'not_counted'
    end as uncounted_reason
from {{ ref('int_events') }} as events
{% if is_incremental() -%}
inner join {{ ref('int_rewritten_messages') }} as rewritten
    on
        events.delivery_id = rewritten.delivery_id
        and events.event_date >= rewritten.first_event_date
        {{- and_between('events.event_date', 'int_rewritten_messages', 'first_event_date', since=true) }}
{% endif -%}
inner join {{ ref('int_messages') }} as messages
    on
        events.delivery_id = messages.delivery_id
        {% if is_incremental() -%}
        and rewritten.first_event_date <= messages.first_event_date
        {{- and_between('messages.first_event_date', 'int_rewritten_messages', 'first_event_date', since=true) }}
        {%- endif %}
left join metric_names
    on events.metric = metric_names.metric
{%- endmacro %}
