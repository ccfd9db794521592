{# CTEs that end with later_feeds and filled_sets, for int_message_ids: what the first feed that has a message lacks,
   and the sets of ids of the messages whose events disagree, with the place of each set's first event. They read the
   CTE messages. `of_messages`: the join that keeps the events of the messages that are wanted. #}
{% macro sets_of_ids(ids, of_messages) -%}
-- nearly all messages have the same ids on each event, so the order of their events does not matter
messages_of_several_ids as (

    select delivery_id
    from messages
    where has_several_ids

),

id_sets as (

    select
        events.delivery_id,
        {{ columns_of('events', ids) }},
        min({{ ordered_key('events.event_timestamp', 'events.event_id') }}) as first_event_order
    from {{ ref('int_events') }} as events
    {{ of_messages }}
    where
        events.is_about_message
        and events.is_of_first_feed
        and events.delivery_id in (select delivery_id from messages_of_several_ids)
    group by events.delivery_id, {{ columns_of('events', ids) | replace('\n        ', ' ') }}

),

-- what the first feed lacks, of the feed after it
later_feeds as (

    select
        events.delivery_id,
        {%- for id in ids %}
        max(events.{{ id }}) as {{ id }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('int_events') }} as events
    {{ of_messages }}
    where
        events.is_about_message
        and not events.is_of_first_feed
    group by events.delivery_id

),

-- two sets may become equal
filled_sets as (

    select
        id_sets.delivery_id,
        {%- for id in ids %}
        coalesce(id_sets.{{ id }}, later_feeds.{{ id }}) as {{ id }},
        {%- endfor %}
        min(id_sets.first_event_order) as first_event_order
    from id_sets
    left join later_feeds
        on id_sets.delivery_id = later_feeds.delivery_id
    group by
        id_sets.delivery_id
        {%- for id in ids %},
        coalesce(id_sets.{{ id }}, later_feeds.{{ id }})
        {%- endfor %}

)
{%- endmacro %}
