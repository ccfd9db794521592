{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    cluster_by=['first_event_date'],
    meta={'touched': [{
        'model': 'int_touched_messages',
        'on': {'delivery_id': 'delivery_id'},
        'since': {'first_event_date': 'first_event_date'},
    }]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}{% endif %}

{% set ids = ['journey_id', 'action_id', 'parent_action_id', 'campaign_id'] %}

{# A 64-bit hash: the two or three sets of ids of one message do not collide. Another feed has other ids, so only those
   of the first feed that has the message are compared. #}
{% set hash_of_ids -%}
    case when events.is_of_first_feed then hash({{ columns_of('events', ids) | replace('\n        ', ' ') }}) end
{%- endset %}

{% set counted_bit %}case when events.is_in_earlier_feed then 0 else coalesce(metric_names.metric_bit, 0) end{% endset %}

{% set of_touched -%}
    {%- if is_incremental() -%}
    inner join touched
        on
            events.delivery_id = touched.delivery_id
            and events.event_date >= touched.first_event_date
            {{- and_between('events.event_date', 'int_touched_messages', 'first_event_date', since=true) }}
    {%- endif -%}
{%- endset %}

with

catalogue as (

    select * from {{ ref('engagement_metrics') }}

),

-- one bit per metric that counts: the sum of a message's bits equals their union unless a metric occurs twice
metric_names as (

    select
        metric,
        max(
            case counts_as
                {%- for metric in catalogue_metrics() %}
                when '{{ metric }}' then {{ 2 ** loop.index0 }}
                {%- endfor %}
                else 0
            end
        ) as metric_bit,
        coalesce(max(counts_as), metric) = 'clicked' as is_click
    from catalogue
    group by metric

),

{{ touched_messages() }}

messages as (

    select
        events.delivery_id,
        min(events.event_at) as first_event_at,
        {{ dbt.bool_or(
            "coalesce(metric_names.is_click, events.metric = 'clicked')"
            ~ ' and not coalesce(events.is_machine_click, false) and not events.is_in_earlier_feed'
        ) }} as has_human_click,
        {%- for id in ids %}
        {{ any_known('case when events.is_of_first_feed then events.' ~ id ~ ' end') }} as {{ id }},
        {%- endfor %}
        min({{ hash_of_ids }}) != max({{ hash_of_ids }}) as has_several_ids,
        min(events.channel) != max(events.channel)
        or min({{ hash_of_ids }}) != max({{ hash_of_ids }})
        or sum({{ counted_bit }}) != {{ bit_or(counted_bit) }}
            as has_repeats
    from {{ ref('int_events') }} as events
    left join metric_names
        on events.metric = metric_names.metric
    {{ of_touched }}
    where events.is_about_message
    group by events.delivery_id

),

{{ sets_of_ids(ids, of_touched) }},

final as (

    select
        messages.delivery_id,
        {%- for id in ids %}
        coalesce(messages.{{ id }}, later_feeds.{{ id }}) as {{ id }},
        {%- endfor %}
        cast(null as {{ dbt.type_string() }}) as first_event_order,
        messages.first_event_at,
        cast(messages.first_event_at as date) as first_event_date,
        messages.has_human_click,
        messages.has_repeats
    from messages
    left join later_feeds
        on messages.delivery_id = later_feeds.delivery_id
    where not messages.has_several_ids

    union all

    select
        filled_sets.delivery_id,
        {{ columns_of('filled_sets', ids) }},
        filled_sets.first_event_order,
        messages.first_event_at,
        cast(messages.first_event_at as date) as first_event_date,
        messages.has_human_click,
        messages.has_repeats
    from filled_sets
    inner join messages
        on filled_sets.delivery_id = messages.delivery_id

)

select * from final
{% if not is_incremental() -%}
-- in order of days, as later runs append: the rows that a day needs are then stored together
order by first_event_date
{%- endif %}
