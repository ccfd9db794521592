{# Metrics of the warehouse sync that changed, and those of deliveries, contents and people that changed. A metric whose
   message the webhooks touched is one of these too, because what they have decides whether it counts. #}
{% set changed_people_ids = all_of([
    of_pending('internal_customer_id', source('customerio_sync', 'customerio_people')),
    of_pending('internal_customer_id', source('customerio_sync', 'customerio_people_removed'), 'batch_id'),
]) %}

with

batches as (

    select * from {{ ref('int_landed_batches') }}

),

read_batches as (

    select batch_id
    from batches
    where not is_pending

),

pending_batches as (

    select batch_id
    from batches
    where is_pending

),

touched_webhook_events as (

    select * from {{ ref('int_touched_events') }}

),

{{ changed_sync_keys('customerio_metrics', 'event_id', 'metrics') }},

{{ changed_sync_keys('customerio_deliveries', 'delivery_id', 'deliveries') }},

{{ changed_sync_keys('customerio_delivery_content', 'delivery_id', 'contents') }},

{{ changed_sync_keys('customerio_people', 'internal_customer_id', 'people') }},

deliveries_of_people as (

    select distinct delivery_id
    from {{ source('customerio_sync', 'customerio_deliveries') }}
    where
        internal_customer_id in (select internal_customer_id from changed_people)
        {{- and_between('internal_customer_id', changed_people_ids, 'internal_customer_id') }}

),

touched_deliveries as (

    select delivery_id from changed_deliveries

    union

    select delivery_id from changed_contents

    union

    select delivery_id from deliveries_of_people

    union

    select delivery_id
    from touched_webhook_events
    where delivery_id is not null

),

touched_metrics as (

    select event_id from changed_metrics

    union

    select event_id
    from {{ source('customerio_sync', 'customerio_metrics') }}
    where delivery_id in (select delivery_id from touched_deliveries)

),

-- every export of a metric: a later one may move it from one message to another
exports as (

    select
        event_id as metric_id,
        created_at as event_at,
        delivery_id
    from {{ source('customerio_sync', 'customerio_metrics') }}
    where event_id in (select event_id from touched_metrics)

    union

    select
        event_id as metric_id,
        created_at as event_at,
        delivery_id
    from {{ source('customerio_sync', 'customerio_metrics_removed') }}
    where
        batch_id in (select batch_id from pending_batches)
        and event_id in (select event_id from touched_metrics)

),

journeys as (

    select
        delivery_id,
        subject_id as journey_id
    from {{ source('customerio_sync', 'customerio_deliveries') }}
    where delivery_id in (select delivery_id from exports)

    union

    select
        delivery_id,
        subject_id as journey_id
    from {{ source('customerio_sync', 'customerio_deliveries_removed') }}
    where
        batch_id in (select batch_id from pending_batches)
        and delivery_id in (select delivery_id from exports)

),

final as (

    select distinct
        {{ sync_event_id('exports.metric_id') }} as event_id,
        exports.metric_id,
        exports.event_at,
        cast(exports.event_at as date) as event_date,
        exports.delivery_id,
        journeys.journey_id
    from exports
    left join journeys
        on exports.delivery_id = journeys.delivery_id

)

select * from final
