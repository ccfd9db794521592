{{ config(
    materialized='incremental',
    incremental_strategy='replace_touched',
    meta={'touched': [{'model': 'int_touched_journeys', 'on': {'unit_key': 'unit_key'}}]}
) }}
{% if is_incremental() %}-- depends_on: {{ ref('int_landed_batches') }}, {{ ref('engagement_metrics') }}{% endif %}

{% if is_incremental() %}
    {%- set of_touched -%}in (select unit_key from {{ ref('int_touched_journeys') }}){%- endset -%}
    {# when their messages began; one without a journey is a unit of its own #}
    {%- set first_dates = all_of([
        'select first_event_date from ' ~ ref('int_message_ids') ~ ' where journey_id ' ~ of_touched
            ~ and_between('journey_id', 'int_touched_journeys', 'unit_key'),
        'select first_event_date from ' ~ ref('int_message_ids') ~ ' where delivery_id ' ~ of_touched
            ~ and_between('delivery_id', 'int_touched_journeys', 'unit_key'),
    ]) -%}
{% else %}
    {%- set of_touched = 'is not null' -%}
{% endif %}

with

outside_arms as (

    select * from {{ ref('int_outside_arms') }}

),

-- a template may be the control of several
deliveries as (

    select
        outside_arms.template_id,
        outside_arms.is_control,
        deliveries.delivery_key,
        deliveries.journey_id,
        deliveries.campaign_id,
        deliveries.copy_id,
        deliveries.user_id,
        deliveries.last_called_at
    from {{ ref('fct_deliveries') }} as deliveries
    inner join outside_arms
        on deliveries.template_id = outside_arms.arm_template_id
    where
        deliveries.journey_id {{ of_touched }}
        {%- if is_incremental() %}
            {{- and_between('deliveries.journey_id', 'int_touched_journeys', 'unit_key') }}
        {%- endif %}

),

control_messages as (

    select
        messages.delivery_id,
        messages.control_template_id as template_id,
        messages.first_event_at,
        min(message_ids.journey_id) as journey_id,
        min(message_ids.campaign_id) as campaign_id
    from {{ ref('int_unmatched_messages') }} as messages
    inner join {{ ref('int_message_ids') }} as message_ids
        on
            messages.delivery_id = message_ids.delivery_id
            and messages.first_event_date = message_ids.first_event_date
    where messages.control_template_id in (select template_id from outside_arms)
    group by messages.delivery_id, messages.control_template_id, messages.first_event_at

),

matched as (

    select
        deliveries.template_id,
        deliveries.is_control,
        deliveries.delivery_key,
        deliveries.journey_id,
        deliveries.campaign_id,
        deliveries.copy_id,
        deliveries.user_id,
        deliveries.last_called_at,
        messages.delivery_id,
        messages.first_event_at,
        messages.first_event_date
    from deliveries
    left join {{ ref('int_message_matches') }} as messages
        on
            deliveries.delivery_key = messages.delivery_key
            and deliveries.journey_id = messages.journey_id

),

-- of calls that lack theirs
campaigns_of_messages as (

    select
        message_ids.delivery_id,
        min(message_ids.campaign_id) as campaign_id
    from matched
    inner join {{ ref('int_message_ids') }} as message_ids
        on
            matched.delivery_id = message_ids.delivery_id
            and matched.first_event_date = message_ids.first_event_date
    where
        matched.campaign_id is null
        {%- if is_incremental() %}
            {{- and_between('message_ids.first_event_date', first_dates, 'first_event_date') }}
        {%- endif %}
    group by message_ids.delivery_id

),

parts as (

    select
        matched.template_id,
        matched.journey_id as unit_key,
        coalesce(matched.campaign_id, campaigns_of_messages.campaign_id) as campaign_id,
        case when not matched.is_control then matched.copy_id end as copy_id,
        matched.is_control,
        matched.user_id,
        matched.last_called_at,
        matched.delivery_key as part_key,
        matched.delivery_id,
        matched.first_event_at
    from matched
    left join campaigns_of_messages
        on matched.delivery_id = campaigns_of_messages.delivery_id

    union all

    select
        template_id,
        coalesce(journey_id, delivery_id) as unit_key,
        campaign_id,
        null as copy_id,
        true as is_control,
        null as user_id,
        null as last_called_at,
        delivery_id as part_key,
        delivery_id,
        first_event_at
    from control_messages
    where coalesce(journey_id, delivery_id) {{ of_touched }}

),

-- the first message says which arm the journey is in; without any, the first call
ranked as (

    select
        template_id,
        unit_key,
        campaign_id,
        copy_id,
        is_control,
        coalesce(first_event_at, last_called_at) as started_at,
        row_number() over (
            partition by template_id, unit_key
            order by first_event_at nulls last, last_called_at nulls last, part_key, delivery_id
        ) as place
    from parts

),

-- read here and not in `parts`, because only the events of these messages are wanted
outcomes as (

    select
        messages.template_id,
        messages.unit_key,
        min(events.user_id) as user_id,
        {{ bit_or(outcome_bits('events.')) }} as outcomes
    from {{ ref('fct_engagement_events') }} as events
    inner join parts as messages
        on events.delivery_id = messages.delivery_id
    where
        events.counts
        {% if is_incremental() -%}
        and events.event_date >= (select min(cast(first_event_at as date)) from parts)
        {{- and_between('events.event_date', first_dates, 'first_event_date', since=true) }}
        {%- endif %}
    group by messages.template_id, messages.unit_key

),

people as (

    select
        template_id,
        unit_key,
        min(user_id) as user_id
    from parts
    group by template_id, unit_key

),

final as (

    select
        ranked.template_id || '/' || ranked.unit_key as unit_id,
        ranked.unit_key,
        ranked.template_id,
        ranked.campaign_id,
        ranked.copy_id,
        ranked.is_control,
        {{ reporting_date('ranked.started_at') }} as unit_date,
        ranked.started_at,
        {{ person_key('coalesce(people.user_id, outcomes.user_id)', 'ranked.unit_key') }} as person_key,
        cast(coalesce(outcomes.outcomes, 0) as {{ dbt.type_bigint() }}) as outcomes
    from ranked
    inner join people
        on
            ranked.template_id = people.template_id
            and ranked.unit_key = people.unit_key
    left join outcomes
        on
            ranked.template_id = outcomes.template_id
            and ranked.unit_key = outcomes.unit_key
    where ranked.place = 1

)

select * from final
