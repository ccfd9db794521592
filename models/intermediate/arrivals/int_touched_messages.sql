{# The events of both feeds, whichever count. Not int_events: its join would read all of them, and a union in one place
   would keep DuckDB from skipping rows that the conditions leave out. #}
{% set events_of_feeds = ['int_distinct_events', 'int_sync_events'] %}
{% set changed_event_dates = of_pending('event_date', ref('int_feed_day_changes'), 'batch_id') %}
{% set later_feed = {'webhooks': 'int_distinct_events', 'sync': 'int_sync_events'}[engagement_feeds()[-1]] %}

with

{{ pending() }},

touched_calls as (

    select * from {{ ref('int_touched_calls') }}

),

{{ touched_events_of_feeds() }},

settings_changes as (

    select * from {{ ref('int_settings_changes') }}

),

call_journeys as (

    select distinct journey_id
    from touched_calls
    where journey_id is not null

),

{{ changed_templates() }},

-- all actions that a changed template ever had: old actions must lose the messages that new ones win
changed_actions as (

    select distinct action_id
    from settings_changes
    where
        action_id is not null
        and template_id in (select template_id from changed_templates)

),

-- days on which the later feed counts no more, or again
changed_days as (

    select event_date
    from {{ ref('int_feed_day_changes') }}
    where batch_id in (select batch_id from pending)

),

message_ids as (

    select delivery_id
    from touched_events
    where delivery_id is not null

    union

    select delivery_id
    from {{ ref(later_feed) }}
    where
        is_about_message
        and metric = 'sent'
        and event_date in (select event_date from changed_days)
        {{- and_between('event_date', changed_event_dates, 'event_date') }}

    {% for model in events_of_feeds %}
    union

    select delivery_id
    from {{ ref(model) }}
    where
        is_about_message
        and journey_id in (select journey_id from call_journeys)
        {{- and_between('journey_id', 'int_touched_calls', 'journey_id') }}

    union

    select delivery_id
    from {{ ref(model) }}
    where
        is_about_message
        and action_id in (select action_id from changed_actions)
        {{- and_between('action_id', of_changed_templates('action_id'), 'action_id') }}

    union

    select delivery_id
    from {{ ref(model) }}
    where
        is_about_message
        and parent_action_id in (select action_id from changed_actions)
        {{- and_between('parent_action_id', of_changed_templates('action_id'), 'action_id') }}
    {% endfor %}

),

journeys as (

    {% for model in events_of_feeds -%}
    select
        delivery_id,
        journey_id,
        min(event_date) as first_event_date
    from {{ ref(model) }}
    where
        is_about_message
        and delivery_id in (select delivery_id from message_ids)
    group by delivery_id, journey_id

    union all

    {% endfor -%}

    select
        delivery_id,
        journey_id,
        min(event_date) as first_event_date
    from touched_events
    where delivery_id is not null
    group by delivery_id, journey_id

    union all

    select
        null as delivery_id,
        journey_id,
        null as first_event_date
    from call_journeys

),

dated as (

    select
        delivery_id,
        journey_id,
        min(first_event_date) over (partition by delivery_id) as first_event_date
    from journeys

),

final as (

    select distinct
        delivery_id,
        journey_id,
        first_event_date
    from dated

)

select * from final
