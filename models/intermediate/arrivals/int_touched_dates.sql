with

{{ pending() }},

touched_calls as (

    select * from {{ ref('int_touched_calls') }}

),

{{ touched_events_of_feeds() }},

touched_messages as (

    select * from {{ ref('int_touched_messages') }}

),

rewritten_messages as (

    select * from {{ ref('int_rewritten_messages') }}

),

settings_changes as (

    select * from {{ ref('int_settings_changes') }}

),

journeys as (

    select distinct journey_id
    from touched_messages
    where journey_id is not null

),

{{ changed_templates() }},

changed_copies as (

    select distinct control_copy_id
    from settings_changes
    where
        control_copy_id is not null
        and template_id in (select template_id from changed_templates)

),

changed_control_templates as (

    select distinct control_template_id
    from settings_changes
    where
        control_template_id is not null
        and template_id in (select template_id from changed_templates)

),

deliveries_of_changed_templates as (

    select delivery_key
    from {{ rows_of_any(ref('fct_deliveries'), 'deliveries', [
        {
            'on': {'template_id': 'template_id'},
            'of': 'changed_templates',
            'and': and_between('template_id', of_changed_templates('template_id'), 'template_id'),
        },
        {
            'on': {'template_id': 'control_template_id'},
            'of': 'changed_control_templates',
            'and': and_between('template_id', of_changed_templates('control_template_id'), 'control_template_id'),
        },
    ]) }}

),

-- dates on which deliveries count, or counted before their calls or messages changed
dates as (

    select {{ reporting_date('called_at') }} as metric_date
    from touched_calls

    union

    select call_date as metric_date
    from {{ ref('int_distinct_calls') }}
    where
        journey_id in (select journey_id from journeys)
        {{- and_between('journey_id', 'int_touched_messages', 'journey_id') }}

    union

    select {{ reporting_date('event_at') }} as metric_date
    from touched_events

    union

    select events.metric_date
    from {{ ref('fct_engagement_events') }} as events
    inner join rewritten_messages
        on
            events.delivery_id = rewritten_messages.delivery_id
            and events.event_date >= rewritten_messages.first_event_date
            {{- and_between('events.event_date', 'int_rewritten_messages', 'first_event_date', since=true) }}

    union

    select call_date as metric_date
    from {{ ref('int_distinct_calls') }}
    where
        copy_id in (select control_copy_id from changed_copies)
        {{- and_between('copy_id', of_changed_templates('control_copy_id'), 'control_copy_id') }}

    union

    select metric_date
    from {{ ref('fct_engagement_events') }}
    where
        copy_id in (select control_copy_id from changed_copies)
        {{- and_between('copy_id', of_changed_templates('control_copy_id'), 'control_copy_id') }}

    union

    select call_date as metric_date
    from {{ ref('int_distinct_calls') }}
    where
        template_id in (select control_template_id from changed_control_templates)
        {{- and_between('template_id', of_changed_templates('control_template_id'), 'control_template_id') }}

    union

    -- a journey counts on the day of its first message, which may be another message than the touched one
    select {{ reporting_date('first_event_at') }} as metric_date
    from {{ ref('int_message_ids') }}
    where
        journey_id in (select journey_id from journeys)
        {{- and_between('journey_id', 'int_touched_messages', 'journey_id') }}

    union

    -- with another control, the deliveries of a template count as journeys or by themselves
    select call_date as metric_date
    from {{ ref('int_distinct_calls') }}
    where
        template_id in (select template_id from changed_templates)
        {{- and_between('template_id', of_changed_templates('template_id'), 'template_id') }}

    union

    select {{ reporting_date('messages.first_event_at') }} as metric_date
    from {{ ref('int_messages') }} as messages
    inner join deliveries_of_changed_templates
        on messages.delivery_key = deliveries_of_changed_templates.delivery_key

),

final as (

    select distinct metric_date
    from dates

)

select * from final
